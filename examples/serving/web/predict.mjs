// node predict.mjs FILE_OR_ADDRESS_OF_STACK.onnx ROWS.json

import { readFile } from "node:fs/promises";

import { ExportedTable } from "./exported_table.mjs";

const [stack, rows] = process.argv.slice(2);
const bytes = /^https?:/.test(stack)
  ? new Uint8Array(await (await fetch(stack)).arrayBuffer())
  : new Uint8Array(await readFile(stack));
const table = await ExportedTable.open(bytes);
const answers = await table.answers(JSON.parse(await readFile(rows, "utf8")));
console.log(JSON.stringify(answers, null, 1));
