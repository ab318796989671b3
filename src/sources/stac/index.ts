import { defineSource } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSource({
  name: "stac",
  title: "STAC",
  summary:
    "Items of SpatioTemporal Asset Catalogs, static or behind an API, one row each; and their GeoTIFF assets, of which only the parts that are wanted are fetched.",
  options,
  needs: [],
  capabilities: {
    discover: true,
    incremental: true,
    query: false,
    replayable: true,
    snapshot: false,
    deletes: false,
    measure: false,
  },
  examples: [
    {
      title: "An API",
      yaml: "connections:\n  earth: { source: stac, url: https://earth-search.aws.element84.com/v1 }\n",
    },
    {
      title: "A static catalogue of one's own, behind a login",
      yaml: [
        "connections:",
        "  archive:",
        "    source: stac",
        "    url: https://archive.example.com/catalog.json",
        '    headers: { authorization: "Bearer ${env:ARCHIVE_TOKEN}" }',
        "",
      ].join("\n"),
    },
    {
      title: "What is new in a collection",
      yaml: [
        "flows:",
        "  scenes:",
        "    from:",
        "      connection: earth",
        "      stream: sentinel-2-l2a",
        "      cursor: updated",
        "      options: { bbox: [13.0, 52.3, 13.8, 52.7], datetime: 2024-06-01T00:00:00Z/.. }",
        "    mode: merge",
        "    key: [id]",
        "",
      ].join("\n"),
    },
    {
      title: "Two bands of each item, cut out",
      yaml: [
        "flows:",
        "  patches:",
        "    from:",
        "      connection: earth",
        "      stream: sentinel-2-l2a",
        "      options:",
        "        bbox: [13.0, 52.3, 13.8, 52.7]",
        "        assets: [red, nir]",
        "        geotiff: { rows: window, bbox: [13.37, 52.51, 13.4, 52.53], pixels: array }",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
});
