import definition from "../../src/sources/mysql/index.ts";
import { sqlSourceContract, type SqlSubject, type TypeCase } from "../contracts/source/sql.ts";
import { startMariadb } from "../services/mariadb.ts";

const simple = (declared: string, type: string, ...values: [string, string | null][]): TypeCase => ({
  declared,
  type,
  values,
});
const same = (declared: string, type: string, ...values: string[]): TypeCase =>
  simple(declared, type, ...values.map((value): [string, string] => [`'${value}'`, value]));

/** What is not said otherwise is the same text here and in the dataset. */
const matrix: Record<string, TypeCase> = {
  tinyint: same("tinyint", "int", "-128", "127"),
  tinyint_unsigned: same("tinyint unsigned", "int", "0", "255"),
  boolean: simple("boolean", "int", ["true", "1"], ["false", "0"], ["-7", "-7"]),
  smallint: same("smallint", "int", "-32768", "32767"),
  smallint_unsigned: same("smallint unsigned", "int", "65535"),
  mediumint: same("mediumint", "int", "-8388608", "8388607"),
  mediumint_unsigned: same("mediumint unsigned", "int", "16777215"),
  int: same("int", "int", "-2147483648", "2147483647"),
  int_unsigned: same("int unsigned", "long", "0", "4294967295"),
  int_zerofill: simple("int(8) zerofill", "long", ["42", "42"], ["0", "0"]),
  bigint: same("bigint", "long", "-9223372036854775808", "9223372036854775807", "9007199254740993"),
  bigint_unsigned: same("bigint unsigned", "decimal(20,0)", "0", "9007199254740993", "18446744073709551615"),
  decimal: same("decimal(18,2)", "decimal(18,2)", "-9999999999999999.99", "0.10", "0.00"),
  decimal_38: same("decimal(38,10)", "decimal(38,10)", "1234567890123456789012345678.0123456789", "-0.0000000001"),
  decimal_zerofill: simple("decimal(10,2) zerofill", "decimal(10,2)", ["1.5", "1.50"]),
  decimal_65: same("decimal(65,30)", "string", `${"9".repeat(35)}.${"9".repeat(30)}`, `-1.${"0".repeat(29)}1`),
  float: simple("float", "float", ["0.1", "0.1"], ["16777217", "16777216.0"], ["-3.4028235e38", "-3.4028235e+38"]),
  float_rounded: simple("float(7,2)", "float", ["99999.99", "99999.99"]),
  double: simple(
    "double",
    "double",
    ["0.1", "0.1"],
    ["1.7976931348623157e308", "1.7976931348623157e+308"],
    ["1e15", "1000000000000000.0"],
  ),
  double_rounded: simple("double(20,3)", "double", ["0.1256", "0.126"]),
  bit: simple("bit(1)", "boolean", ["b'1'", "true"], ["b'0'", "false"]),
  bits: simple("bit(9)", "long", ["b'111111111'", "511"], ["b'0'", "0"]),
  bits_64: simple("bit(64)", "decimal(20,0)", [`b'${"1".repeat(64)}'`, "18446744073709551615"]),
  char: simple("char(5)", "string", ["'ab '", "ab"], ["''", ""]),
  varchar: simple(
    "varchar(50)",
    "string",
    ["'aé漢😀'", "aé漢😀"],
    ["'x,y\"'", 'x,y"'],
    ["'a\\0b'", "a\0b"],
    ["'  '", "  "],
  ),
  latin1: same("varchar(20) character set latin1", "string", "grün €"),
  utf16: same("text character set utf16", "string", "日本語😀"),
  longtext: simple(
    "longtext",
    "string",
    ["repeat('\"x', 50000)", '"x'.repeat(50_000)],
    ["repeat('é', 300)", "é".repeat(300)],
  ),
  binary: simple("binary(4)", "binary", ["x'0041225c'", "\\x00A\\x22\\x5C"], ["x'61'", "a\\x00\\x00\\x00"]),
  varbinary: simple("varbinary(20)", "binary", ["''", ""], ["x'ff'", "\\xFF"]),
  blob: simple("longblob", "binary", ["repeat('a', 70000)", "a".repeat(70_000)]),
  date: {
    ...same("date", "date", "0001-01-01", "9999-12-31", "2024-02-29"),
    rejected: ["'0000-00-00'", "'2024-00-00'", "'2024-02-00'"],
  },
  datetime: {
    ...simple(
      "datetime",
      "timestamp",
      ["'1000-01-01 00:00:00'", "1000-01-01 00:00:00"],
      ["'2024-12-31 23:59:59'", "2024-12-31 23:59:59"],
    ),
    rejected: ["'0000-00-00 00:00:00'", "'2024-00-10 01:02:03'"],
  },
  datetime_6: same("datetime(6)", "timestamp", "9999-12-31 23:59:59.999999", "1969-12-31 23:59:59.000001"),
  timestamp: {
    ...simple(
      "timestamp(6) null",
      "timestamptz",
      ["'2038-01-19 03:14:07.999999'", "2038-01-19 03:14:07.999999+00"],
      ["'1970-01-01 00:00:01'", "1970-01-01 00:00:01+00"],
    ),
    rejected: ["0"],
  },
  time: simple("time(6)", "string", ["'-838:59:59.999999'", "-838:59:59.999999"], ["'24:00:00'", "24:00:00.000000"]),
  year: simple("year", "int", ["1901", "1901"], ["2155", "2155"], ["'0000'", "0"]),
  enum: simple("enum('small','it''s \"big\"','')", "string", ["'small'", "small"], ["2", 'it\'s "big"'], ["''", ""]),
  set: simple("set('a','b','c')", "string", ["'c,a'", "a,c"], ["''", ""]),
  json: same("json", "string", '{"a": [1, 2.50], "b": null}', "null"),
  point: simple("point", "binary", ["ST_GeomFromText('POINT(0 0)', 4326)", `\\x01\\x01${"\\x00".repeat(19)}`]),
  uuid: simple("uuid", "uuid", ["'123E4567-e89b-12d3-a456-426614174000'", "123e4567-e89b-12d3-a456-426614174000"]),
  inet4: same("inet4", "string", "255.0.10.1"),
  inet6: same("inet6", "string", "2001:db8::1", "::ffff:1.2.3.4"),
};

async function startSubject(): Promise<SqlSubject> {
  const server = await startMariadb(["--sql-mode=NO_ENGINE_SUBSTITUTION", "--character-set-server=utf8mb4"]);
  const { host, port, user, password, database, url } = server;
  const quote = (name: string): string => `\`${name.replaceAll("`", "``")}\``;
  return {
    options: { url },
    secret: password,
    wrong: [
      {
        what: "password",
        options: { host, port, user, password: "wr0ng-canary-secret", database },
        code: "authentication",
      },
      { what: "user", options: { host, port, user: "nobody", password, database }, code: "authentication" },
      { what: "database", options: { host, port, user, password, database: "shopp" }, code: "permission" },
      { what: "port", options: { host, port: 1, user, password }, code: "unreachable" },
      { what: "host", options: { host: "no-such-host.invalid", user, password }, code: "unreachable" },
      { what: "url", options: { url: `mysql://${user}:${password}@:0/` }, code: "config" },
      { what: "TLS", options: { host, port, user, password, ssl: "require" }, code: "config" },
      {
        what: "ca",
        options: { host, port, user, password, ssl: "verify-full", ca: "no-such-file.pem" },
        code: "config",
      },
    ],
    run: (sql) => server.query(sql),
    schema: database,
    quote,
    literal: (text) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`,
    nameBytes: 64,
    // Names are of the Basic Multilingual Plane.
    takesName: (name) => !/[\u{10000}-\u{10ffff}]/u.test(name),
    types: { long: "bigint", text: "longtext", timestamp: "datetime(6)" },
    generate: (rows) => `SELECT seq AS n, CONCAT(seq, ' is the number of this row') AS t FROM shop.seq_1_to_${rows}`,
    slow: "SELECT SLEEP(20) AS n, 'x' AS t",
    connections: async () => {
      const rows = await server.query(
        `SELECT COUNT(*) AS n, COALESCE(SUM(COMMAND = 'Query'), 0) AS busy FROM information_schema.PROCESSLIST WHERE USER = '${user}'`,
      );
      return { all: Number(rows[0]!["n"]), busy: Number(rows[0]!["busy"]) };
    },
    restart: () => server.restart(),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

sqlSourceContract({
  name: "mysql",
  definition,
  matrix,
  start: startSubject,
  waivers: {},
});
