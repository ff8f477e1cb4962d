// Ask an ONNX file of a stack over a table, in a browser or in Node, with onnxruntime-web.

import * as ort from "onnxruntime-web";

// What stands for a missing value in an input of strings.
const MISSING = "<NA>";

export class ExportedTable {
  // Open the bytes of a file that stackfuse.export wrote.
  static async open(bytes) {
    return new ExportedTable(await ort.InferenceSession.create(bytes), descriptionIn(bytes));
  }

  constructor(session, { inputs, classes, feature_names: names }) {
    this.session = session;
    this.inputs = inputs;
    this.classes = classes;
    // A table of numbers alone is one input; with strings in it, each column is one.
    this.isMatrix = inputs.x?.column === null;
    const numbered = () => Array.from({ length: inputs.x.shape[1] }, (_, k) => `x${k}`);
    this.columns = this.isMatrix
      ? (names ?? numbered())
      : Object.values(inputs).map((input) => String(input.column));
  }

  // Return one answer for each row, an object by the names of the columns; null is missing.
  // A row that scikit-learn would refuse has null in its answer.
  async answers(rows) {
    for (const row of rows) {
      const wrong = this.columns.find((name) => row[name] === undefined);
      if (wrong !== undefined) throw new Error(`A row has no column ${JSON.stringify(wrong)}.`);
    }
    const outputs = await this.session.run(this.feed(rows));
    return rows.map((_, k) => {
      const answer = {};
      for (const [name, tensor] of Object.entries(outputs)) {
        const width = tensor.data.length / rows.length;
        const values = Array.from(tensor.data.slice(k * width, (k + 1) * width), plain);
        answer[name] = this.named(name, tensor.dims.length > 1 ? values : values[0]);
      }
      return answer;
    });
  }

  feed(rows) {
    if (this.isMatrix) {
      const { dtype } = this.inputs.x;
      const values = rows.flatMap((row) => this.columns.map((name) => cell(row[name], name, dtype)));
      return { x: tensor(dtype, values, [rows.length, this.columns.length]) };
    }
    return Object.fromEntries(
      Object.entries(this.inputs).map(([name, { dtype, column }]) => {
        const values = rows.map((row) => cell(row[column], column, dtype));
        return [name, tensor(dtype, values, [rows.length, 1])];
      }),
    );
  }

  named(output, value) {
    if (!this.classes || Array.isArray(this.classes[0])) return value;
    if (output === "label") return this.classes[value] ?? null;
    if (value?.length !== this.classes.length) return value;
    return Object.fromEntries(this.classes.map((name, k) => [String(name), value[k]]));
  }
}

// Return one value of a column: null and NaN are missing; words for numbers, and so on, are refused.
function cell(value, column, dtype) {
  if (value === null || Number.isNaN(value)) return dtype === "string" ? MISSING : NaN;
  if ((typeof value === "string") === (dtype === "string")) return value;
  const wanted = dtype === "string" ? "words" : "numbers";
  const found = `${JSON.stringify(column)} takes ${wanted}, got ${JSON.stringify(value)}.`;
  throw new Error(`The column ${found}`);
}

function tensor(dtype, values, dims) {
  const arrays = { float64: Float64Array, float32: Float32Array };
  return new ort.Tensor(dtype, dtype === "string" ? values : arrays[dtype].from(values), dims);
}

function plain(value) {
  const number = Number(value); // labels are of type BigInt
  return Number.isFinite(number) ? number : null;
}

// Return the description in a file. Runtimes for the web do not hand out a model's properties, so
// they are read from the file: they are field 14, entries of a key, field 1, and a value, field 2.
function descriptionIn(bytes) {
  const text = new TextDecoder();
  for (const [number, entry] of fields(bytes)) {
    if (number !== 14) continue;
    const { 1: key, 2: value } = Object.fromEntries(fields(entry));
    if (text.decode(key) === "stackfuse.json") return JSON.parse(text.decode(value));
  }
  throw new Error("This file was not written by stackfuse.export: it holds no description.");
}

// Yield the number and the bytes of every field with a length in a message of Protocol Buffers.
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else {
      const length = varint();
      yield [(tag - kind) / 8, bytes.subarray(at, at + length)];
      at += length;
    }
  }
}
