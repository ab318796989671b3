import {
  formatMessageForArgumentScannerError,
  ArgumentScannerError,
  text_en,
  type ApplicationText,
} from "@stricli/core";
import { messageOf } from "../core/errors.ts";
import { nearest } from "../core/suggest.ts";
import { errorJson, formatError } from "./errors.ts";
import { MillraceError } from "../core/errors.ts";

/** Set once, before arguments are parsed: wrong usage is reported in the form that was asked for. */
export const reporting: { json: boolean; verbs: readonly string[] } = { json: false, verbs: [] };

const report = (error: unknown): string => (reporting.json ? errorJson(error) : formatError(error));

const didYouMean = (corrections: readonly string[]): string | undefined =>
  corrections.length === 0 ? undefined : `did you mean ${corrections.map((name) => `\`${name}\``).join(" or ")}?`;

function argumentProblem(thrown: unknown): MillraceError {
  if (!(thrown instanceof ArgumentScannerError)) return new MillraceError("usage", messageOf(thrown));
  let hint: string | undefined = "`--help` after the command shows what it takes";
  const message = formatMessageForArgumentScannerError(thrown, {
    FlagNotFoundError: ({ input, corrections }) => {
      hint = didYouMean(corrections.map((name) => `--${name.replace(/^--/, "")}`)) ?? hint;
      return `there is no flag \`--${input}\` here`;
    },
    AliasNotFoundError: ({ input }) => `there is no flag \`-${input}\` here`,
    ArgumentParseError: ({ externalFlagNameOrPlaceholder, exception }) => {
      if (exception instanceof MillraceError) hint = exception.hint ?? hint;
      return `\`${externalFlagNameOrPlaceholder}\`: ${messageOf(exception)}`;
    },
    EnumValidationError: ({ externalFlagName, input, values }) => {
      const match = nearest(input, values);
      if (match !== undefined) hint = `did you mean \`${match}\`?`;
      return `\`--${externalFlagName}\` is \`${input}\`, but must be one of ${values.map((value) => `\`${value}\``).join(", ")}`;
    },
    UnsatisfiedFlagError: ({ externalFlagName }) => `the flag \`--${externalFlagName}\` is missing or has no value`,
    UnsatisfiedPositionalError: ({ placeholder }) => `the argument \`<${placeholder}>\` is missing`,
    UnexpectedPositionalError: ({ expectedCount, input }) =>
      `\`${input}\` is one argument too many: the command takes ${expectedCount === 0 ? "none" : expectedCount}`,
    UnexpectedFlagError: ({ externalFlagName }) => `the flag \`--${externalFlagName}\` is given twice`,
    InvalidNegatedFlagSyntaxError: ({ externalFlagName }) => `the flag \`--${externalFlagName}\` takes no value`,
  });
  return new MillraceError("usage", message, { hint });
}

/** All texts of the command line that are not help. */
export const text: ApplicationText = {
  ...text_en,
  noCommandRegisteredForInput: ({ input }) => {
    const match = nearest(input, reporting.verbs);
    return report(
      new MillraceError("usage", `there is no command \`${input}\``, {
        hint: match === undefined ? "`millrace --help` lists the commands" : `did you mean \`millrace ${match}\`?`,
      }),
    );
  },
  exceptionWhileParsingArguments: (error) => report(argumentProblem(error)),
  exceptionWhileLoadingCommandFunction: report,
  exceptionWhileLoadingCommandContext: report,
  exceptionWhileRunningCommand: report,
  commandErrorResult: report,
};
