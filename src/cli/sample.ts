/** What `millrace init` writes: it must run as it is, and show a rejected row with its reason. */
export const sampleConfig = `# yaml-language-server: $schema=./.millrace/schema.json

# Where datasets are kept: a folder. Each is an Apache Iceberg table with Parquet files.
store: ./lake

# Systems to read from. Secrets only as \${env:NAME} or \${file:path}.
# connections:
#   shop: { source: postgres, url: "\${env:SHOP_URL}" }     # see: millrace describe source postgres

flows:
  orders:
    from: { path: data/orders*.csv }     # only new and changed files are read; or { connection: shop, stream: public.orders }
    transform: select *, price * quantity as total from input
    checks:
      - { check: not-null, columns: [id, customer_id] }
      - { check: range, column: price, min: 0, on_fail: reject }
    split: { train: 0.8, validation: 0.1, test: 0.1, key: customer_id, seed: 7 }
`;

const items = ["lamp", "chair", "desk", "shelf", "clock"];

/** 200 orders of 40 customers; two have a price that cannot be. */
export function sampleOrders(): string {
  const lines = ["id,customer_id,item,price,quantity,ordered_at"];
  for (let id = 1; id <= 200; id++) {
    const price = id % 97 === 0 ? "-1.00" : (9.9 + ((id * 37) % 90)).toFixed(2);
    const day = String(1 + (id % 28)).padStart(2, "0");
    lines.push(
      `${id},${1 + ((id * 7) % 40)},${items[id % items.length]},${price},${1 + (id % 4)},2026-01-${day}T08:30:00Z`,
    );
  }
  return `${lines.join("\n")}\n`;
}
