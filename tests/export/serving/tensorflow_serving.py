"""A stand-in for TensorFlow Serving, which no package index has: its REST API over its own loader.

``python tensorflow_serving.py FOLDER --port PORT`` serves the newest version in a model's folder.
As the server does, it loads the graph tagged ``serve`` into a session, feeds the tensors that the
signature ``serving_default`` names, and makes them of JSON by the signature's dtypes alone: a
number is no string, null is no number, and NaN is one.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import tensorflow as tf


class Refused(Exception):
    """A mistake of the client."""


class Model:
    """The newest version of a model."""

    def __init__(self, folder: Path):
        versions = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
        self.name, self.version = folder.name, max(versions)
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(
                self.session, ["serve"], str(folder / str(self.version))
            )
        self.signature = loaded.signature_def["serving_default"]
        assert self.signature.method_name == "tensorflow/serving/predict"

    def predict(self, request: dict) -> dict:
        """Answer a request in the format in which it was asked."""
        by_rows = "instances" in request
        asked = request["instances" if by_rows else "inputs"]
        given = columns_of(asked) if by_rows else asked
        if len(self.signature.inputs) == 1 and not isinstance(given, dict):
            given = {next(iter(self.signature.inputs)): given}
        if set(given) != set(self.signature.inputs):
            raise Refused(f"inputs must be {sorted(self.signature.inputs)}, got {sorted(given)}")
        fed = {entry.name: tensor_of(given[n], entry) for n, entry in self.signature.inputs.items()}
        wanted = {name: entry.name for name, entry in self.signature.outputs.items()}
        try:
            found = self.session.run(wanted, fed)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise Refused(str(error)) from error
        outputs = {name: array.tolist() for name, array in found.items()}
        if len(outputs) == 1:
            (alone,) = outputs.values()
            return {"predictions" if by_rows else "outputs": alone}
        if not by_rows:
            return {"outputs": outputs}
        return {"predictions": [dict(zip(outputs, row)) for row in zip(*outputs.values())]}


def columns_of(instances: list):
    """Return rows as columns by name; rows without names stay rows."""
    if not isinstance(instances[0], dict):
        return instances
    if any(set(row) != set(instances[0]) for row in instances):
        raise Refused("all instances must have the same inputs")
    return {name: [row[name] for row in instances] for name in instances[0]}


def tensor_of(values, entry) -> np.ndarray:
    """Return JSON as the tensor that an input of the signature takes."""
    dtype = tf.as_dtype(entry.dtype)
    array = np.array(values, object)
    kind = str if dtype == tf.string else int | float
    wrong = [v for v in array.ravel() if not isinstance(v, kind) or isinstance(v, bool)]
    if wrong:
        raise Refused(f"JSON value {wrong[0]!r} is not of the expected type {dtype.name}")
    return array if dtype == tf.string else array.astype(dtype.as_numpy_dtype)


class Handler(BaseHTTPRequestHandler):
    model: Model

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == f"/v1/models/{self.model.name}:predict"
        try:
            self.answer(200, self.model.predict(body))
        except Refused as error:
            self.answer(400, {"error": str(error)})

    def do_GET(self):
        assert self.path == f"/v1/models/{self.model.name}"
        status = {"version": str(self.model.version), "state": "AVAILABLE"}
        self.answer(200, {"model_version_status": [status]})

    def answer(self, code: int, content: dict) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    Handler.model = Model(Path(sys.argv[1]))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3])), Handler).serve_forever()
