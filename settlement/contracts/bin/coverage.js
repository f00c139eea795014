// Reads an lcov report and fails when fewer lines of src/ are run by the tests than asked; src/development is not deployed.
const [file, least] = process.argv.slice(2);
let source = "";
let run = 0;
const missed = [];
for (const line of require("fs").readFileSync(file, "utf8").split("\n")) {
  if (line.startsWith("SF:")) source = line.slice(3);
  if (!line.startsWith("DA:") || !source.startsWith("src/") || source.startsWith("src/development/")) continue;
  const [number, count] = line.slice(3).split(",").map(Number);
  if (count > 0) run += 1;
  else missed.push(`${source}:${number}`);
}
const share = (100 * run) / (run + missed.length);
console.log(`lines run by tests: ${run} of ${run + missed.length}, ${share.toFixed(1)} %; not run: ${missed.join(" ") || "none"}`);
if (!(share >= Number(least))) {
  console.error(`fewer than ${least} %`);
  process.exit(1);
}
