export * from "./plan.ts";
export * from "./measure.ts";
export * from "./quarantine.ts";
export * from "./records.ts";
export * from "./profile.ts";
export * from "./profile-text.ts";
export * from "./html.ts";
export { isShown } from "./preview-card.ts";
export * from "./preview-html.ts";
