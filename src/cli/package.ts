import { fileURLToPath } from "node:url";

/** The JSON schema of the configuration, in this package. */
export const schemaFile = fileURLToPath(new URL("../../schema/millrace.schema.json", import.meta.url));
