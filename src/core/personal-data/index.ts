export { personalKindNames, personalKinds, type PersonalKindName } from "./kinds.ts";
export { hasPersonalData, mayHavePersonalData, personalDataFunctions } from "./sql.ts";
