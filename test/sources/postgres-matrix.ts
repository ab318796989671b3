import type { TypeCase } from "../contracts/source/sql.ts";

const simple = (declared: string, type: string, ...values: [string, string | null][]): TypeCase => ({
  declared,
  type,
  values,
});
const same = (declared: string, type: string, ...values: string[]): TypeCase =>
  simple(declared, type, ...values.map((value): [string, string] => [`'${value}'`, value]));

/** What is not said otherwise is the same text here and in the dataset. */
export const matrix: Record<string, TypeCase> = {
  smallint: same("smallint", "int", "-32768", "32767", "0"),
  integer: same("integer", "int", "-2147483648", "2147483647"),
  bigint: same("bigint", "long", "-9223372036854775808", "9223372036854775807", "9007199254740993"),
  numeric_fixed: {
    ...same("numeric(20,4)", "decimal(20,4)", "1234567890123456.7890", "-0.0001", "0.0000"),
    rejected: ["'NaN'"],
  },
  numeric_38: same("numeric(38,10)", "decimal(38,10)", "1234567890123456789012345678.0123456789"),
  numeric_below_one: simple("numeric(5,5)", "decimal(5,5)", ["0.12345", ".12345"]),
  numeric_tiny: simple("numeric(3,5)", "decimal(5,5)", ["0.00123", ".00123"]),
  numeric_thousands: simple("numeric(2,-3)", "decimal(5,0)", ["12345", "12000"]),
  numeric_wide: same("numeric(50,2)", "string", "123456789012345678901234567890123456789012345678.90"),
  numeric_free: same(
    "numeric",
    "string",
    "1.10",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e-20".replace("1e-20", "0.00000000000000000001"),
  ),
  real: simple(
    "real",
    "float",
    ["'1.1'", "1.1"],
    ["'NaN'", "nan"],
    ["'-Infinity'", "-inf"],
    ["'3.4028235e38'", "3.4028235e+38"],
  ),
  double: simple(
    "double precision",
    "double",
    ["'0.1'", "0.1"],
    ["'Infinity'", "inf"],
    ["'NaN'", "nan"],
    ["'1.7976931348623157e308'", "1.7976931348623157e+308"],
    ["'-0'", "-0.0"],
  ),
  money: simple(
    "money",
    "decimal(19,2)",
    ["'-92233720368547758.08'", "-92233720368547758.08"],
    ["'1234.5'", "1234.50"],
  ),
  boolean: simple("boolean", "boolean", ["true", "true"], ["false", "false"]),
  char: simple("char(5)", "string", ["'ab'", "ab   "], ["''", "     "]),
  varchar: same("varchar(10)", "string", "", "aé漢😀", "x,y"),
  text: same("text", "string", "", "line\nbreak", 'quo"te', "NULL", "\\N", " "),
  internal_char: same('"char"', "string", "x"),
  name: same("name", "string", "some_name"),
  citext: same("citext", "string", "MiXed"),
  json: same("json", "string", '{"a" : [1, null, "x"]}', "null", '""'),
  jsonb: same("jsonb", "string", '{"a": [1, null, "x"], "big": 123456789012345678901234567890.123}'),
  xml: same("xml", "string", "<a b='1'>x</a>".replaceAll("'", '"')),
  bytea: simple("bytea", "binary", ["'\\x'", ""], ["'\\x00ff41'", "\\x00\\xFFA"], ["'\\x5c22'", "\\x5C\\x22"]),
  date: {
    ...simple(
      "date",
      "date",
      ["'2024-02-29'", "2024-02-29"],
      ["'0001-01-01'", "0001-01-01"],
      ["'5874897-12-31'", "5874897-12-31"],
      ["'0044-03-15 BC'", "0044-03-15 (BC)"],
      ["'4713-01-01 BC'", "4713-01-01 (BC)"],
    ),
    rejected: ["'infinity'", "'-infinity'"],
  },
  time: { ...same("time", "time", "00:00:00", "23:59:59.999999"), rejected: ["'24:00:00'"] },
  timetz: same("timetz", "string", "12:34:56.789+05:30"),
  timestamp: {
    ...same(
      "timestamp",
      "timestamp",
      "2024-02-29 12:34:56.789012",
      "0001-01-01 00:00:00",
      "12345-06-07 00:00:00.000001",
    ),
    rejected: ["'infinity'", "'-infinity'", "'294276-12-31 23:59:59.999999'"],
  },
  timestamptz: {
    ...simple("timestamptz", "timestamptz", ["'2024-02-29 12:34:56.789012+05:30'", "2024-02-29 07:04:56.789012+00"]),
    rejected: ["'infinity'", "'-infinity'"],
  },
  interval: simple(
    "interval",
    "string",
    ["'1 year 2 mons -3 days 04:05:06.789'", "P1Y2M-3DT4H5M6.789S"],
    ["'0'", "PT0S"],
  ),
  uuid: same("uuid", "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
  bit: same("bit(3)", "string", "101"),
  varbit: same("varbit", "string", "10101", ""),
  inet: same("inet", "string", "192.168.1.5/24", "10.0.0.1", "::1"),
  cidr: same("cidr", "string", "192.168.100.128/25"),
  macaddr: same("macaddr", "string", "08:00:2b:01:02:03"),
  macaddr8: same("macaddr8", "string", "08:00:2b:01:02:03:04:05"),
  oid: same("oid", "long", "4294967295"),
  xid: same("xid", "long", "4294967295"),
  xid8: same("xid8", "decimal(20,0)", "18446744073709551615"),
  pg_lsn: same("pg_lsn", "string", "16/B374D848"),
  tsvector: simple("tsvector", "string", ["$$'cat':3 'fat':2$$", "'cat':3 'fat':2"]),
  tsquery: simple("tsquery", "string", ["$$'fat' & 'rat'$$", "'fat' & 'rat'"]),
  point: same("point", "string", "(1,2.5)"),
  line: same("line", "string", "{1,2,3}"),
  box: same("box", "string", "(3,4),(1,2)"),
  path: same("path", "string", "[(0,0),(1,1)]"),
  polygon: same("polygon", "string", "((0,0),(1,1),(1,0))"),
  circle: same("circle", "string", "<(0,0),5>"),
  int4range: same("int4range", "string", "[1,10)", "empty"),
  tstzrange: simple("tstzrange", "string", ["'[2024-01-01 00:00+00,)'", '["2024-01-01 00:00:00+00",)']),
  int4multirange: same("int4multirange", "string", "{[1,3),[5,8)}"),
  mood: same("mood", "string", "happy"),
  positive: simple("positive", "int", ["7", "7"]),
  amount: same("amount", "decimal(12,3)", "5.250"),
  regclass: same("regclass", "string", "pg_class"),
  int_array: {
    ...simple("int[]", "list<int>", ["'{1,NULL,-3}'", "[1, NULL, -3]"], ["'{}'", "[]"], ["'[0:1]={7,8}'", "[7, 8]"]),
    rejected: ["'{{1,2},{3,4}}'"],
  },
  int_array_2: simple("int[][]", "list<list<int>>", ["'{{1,2},{3,4}}'", "[[1, 2], [3, 4]]"]),
  bigint_array: simple("bigint[]", "list<long>", [
    "'{9223372036854775807,9007199254740993}'",
    "[9223372036854775807, 9007199254740993]",
  ]),
  numeric_array: simple("numeric(38,4)[]", "list<decimal(38,4)>", [
    "'{1234567890123456789012345678901234.5678,0}'",
    "[1234567890123456789012345678901234.5678, 0.0000]",
  ]),
  numeric_free_array: simple("numeric[]", "list<string>", ["'{1.10,NaN}'", "[1.10, NaN]"]),
  double_array: simple("double precision[]", "list<double>", ["'{0.1,NaN,Infinity,NULL}'", "[0.1, nan, inf, NULL]"]),
  text_array: simple("text[]", "list<string>", [
    `'{"a,b","c\\"d",NULL,"",e}'`,
    `['a,b', 'c\\"d', NULL, '', e]`.replace('\\"', '"'),
  ]),
  bool_array: simple("boolean[]", "list<boolean>", ["'{t,f,NULL}'", "[true, false, NULL]"]),
  timestamptz_array: simple("timestamptz[]", "list<timestamptz>", [
    "'{2024-01-01 00:00:00.000001+00}'",
    "['2024-01-01 00:00:00.000001+00']",
  ]),
  date_array: {
    ...simple("date[]", "list<date>", ["'{2024-01-01,NULL}'", "[2024-01-01, NULL]"]),
    rejected: ["'{2024-01-01,infinity}'", "'{NULL,0044-03-15 BC}'"],
  },
  time_array: { ...simple("time[]", "list<time>", ["'{01:02:03}'", "['01:02:03']"]), rejected: ["'{24:00}'"] },
  uuid_array: simple("uuid[]", "list<uuid>", [
    "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'",
    "[a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11]",
  ]),
  bytea_array: simple("bytea[]", "list<string>", [`'{"\\\\x00ff41",NULL}'`, "[\\x00ff41, NULL]"], ["'{}'", "[]"]),
  jsonb_array: simple("jsonb[]", "list<string>", [`array['{"a": 1}'::jsonb]`, `['{"a": 1}']`]),
  inet_array: simple("inet[]", "list<string>", ["'{10.0.0.1}'", "[10.0.0.1]"]),
  money_array: simple("money[]", "list<decimal(19,2)>", ["'{1.50}'", "[1.50]"]),
  mood_array: simple("mood[]", "list<string>", ["'{happy}'", "[happy]"]),
  address: simple(
    "address",
    "struct<street: string, number: int, price: decimal(30,2), at: timestamptz, tags: list<string>>",
    [
      `row('Main "St", 1', 5, 1234567890123456789012345678.90, '2024-01-01 00:00:00+00', '{a,NULL}')::address`,
      `{'street': 'Main "St", 1', 'number': 5, 'price': 1234567890123456789012345678.90, 'at': '2024-01-01 00:00:00+00', 'tags': [a, NULL]}`,
    ],
    [
      "row(NULL, NULL, NULL, NULL, NULL)::address",
      "{'street': NULL, 'number': NULL, 'price': NULL, 'at': NULL, 'tags': NULL}",
    ],
  ),
  address_array: simple("address[]", "string", [
    "array[row('x', 1, 2.5, NULL, NULL)::address]",
    '[{"street":"x","number":1,"price":2.50,"at":null,"tags":null}]',
  ]),
  hstore: simple("hstore", "map<string, string>", [`'a=>1, "b c"=>NULL'`, "{a=1, b c=NULL}"], ["''", "{}"]),
};

/** What the types of the matrix need in a database. */
export const matrixTypes = `
    CREATE EXTENSION hstore; CREATE EXTENSION citext;
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE DOMAIN positive AS int CHECK (value > 0);
    CREATE DOMAIN amount AS numeric(12,3);
    CREATE TYPE address AS (street text, number int, price numeric(30,2), at timestamptz, tags text[]);`;
