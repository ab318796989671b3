import * as z from "zod";

const credentials = z.strictObject({
  access_key_id: z.string().min(1).describe("Access key."),
  secret_access_key: z.string().min(1).meta({ secret: true }).describe("Secret key."),
  session_token: z
    .string()
    .min(1)
    .meta({ secret: true })
    .optional()
    .describe("Session token of temporary credentials."),
});

const role = z.strictObject({
  arn: z.string().min(1).describe("ARN of the role."),
  external_id: z.string().min(2).optional().describe("External id that the role's trust policy asks for."),
  session: z
    .string()
    .regex(/^[\w+=,.@-]{2,64}$/)
    .default("millrace")
    .describe("Name of the session, which shows in the logs of the other account."),
  endpoint: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("STS endpoint, when it is not that of AWS."),
});

/** Who asks, the same for all services of AWS. */
export const accountShape = {
  credentials: credentials
    .optional()
    .describe("Keys. Default: environment, profile, container or instance, as the AWS tools find them."),
  role: role.optional().describe("Role to assume through STS, with the credentials above."),
};

export type AccountOptions = z.output<z.ZodObject<typeof accountShape>>;
