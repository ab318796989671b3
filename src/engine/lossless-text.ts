import accessors from "@duckdb/node-api/lib/vectors/dataAccessors.js";

/*
 * The reader of results decodes each text as if it were a file of its own, and takes U+FEFF at its beginning for a byte order
 * mark: a value that begins with it would lose it on the way to a preview, a lookup or a training batch. There is no setting
 * for it in @duckdb/node-api 1.5, so its decoder is replaced; the naughty strings of the source contract notice when that ends.
 */
(accessors as { textDecoder: InstanceType<typeof TextDecoder> }).textDecoder = new TextDecoder("utf-8", {
  ignoreBOM: true,
});
