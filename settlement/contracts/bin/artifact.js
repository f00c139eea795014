#!/usr/bin/env node
// Reads a forge artifact, prints what the Rust side and deployers need of it.
"use strict";
const fs = require("fs");

const artifact = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
for (const field of ["bytecode", "deployedBytecode"]) {
  if (!/^0x([0-9a-f]{2})+$/.test(artifact[field].object)) {
    throw new Error(`${process.argv[2]}: ${field} is empty or not linked`);
  }
}
console.log(
  JSON.stringify(
    {
      abi: artifact.abi,
      bytecode: artifact.bytecode.object,
      deployedBytecode: artifact.deployedBytecode.object,
    },
    null,
    2,
  ),
);
