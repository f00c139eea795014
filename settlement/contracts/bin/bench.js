// Prints snapshots/bench.json: gas of whole transactions per job, and as the last line name=value pairs.
const gas = Object.fromEntries(
  Object.entries(JSON.parse(require("fs").readFileSync("snapshots/bench.json"))).map(([key, value]) => [key, Number(value)]),
);
const shapes = { 1: "1 payer, 1 provider", 100: "10 payers, 5 providers", 1000: "50 payers, 20 providers", 10000: "100 payers, 100 providers" };
const each = (total, jobs) => (total / jobs < 100 ? (total / jobs).toFixed(1) : String(Math.round(total / jobs)));
const rows = Object.entries(shapes).map(([jobs, shape]) => [
  `${jobs} jobs (${shape})`,
  each(gas["root post"], jobs),
  each(gas[`ledger ${jobs}`], jobs),
  each(gas["one per job"], 1),
  each(gas["drop root"], jobs),
]);
const table = [["gas per job", "root mode", "ledger mode", "one per job", "Merkle drop"], ...rows];
const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
for (const row of table) console.log(row.map((cell, column) => (column ? cell.padStart(widths[column]) : cell.padEnd(widths[0]))).join("  "));
console.log(
  `besides: root mode ${gas["root voucher"]} per payer's voucher and ${gas["root claim"]} per claim of 100 providers; ` +
    `ledger mode ${gas["ledger claim"]} per claim; Merkle drop ${gas["drop claim"]} per claim; one per job pays at once`,
);
const names = ["root", "ledger"].flatMap((mode) =>
  [100, 1000, 10000].map((jobs) => `${mode}_${jobs}=${each(gas[mode === "root" ? "root post" : `ledger ${jobs}`], jobs)}`),
);
console.log(names.join(" "));
