"""Serve an ONNX file of a stack over a table: rows as JSON in, answers as JSON out.

``MODEL=churn.onnx uvicorn --factory onnx_fastapi:create_app``
"""

import os
from typing import Annotated, Any

from exported_table import ExportedTable
from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, create_model

#: Rows that one request may hold.
MOST_ROWS = 10_000


def create_app() -> FastAPI:
    """Return the server of the file that the environment variable ``MODEL`` names."""
    if "MODEL" not in os.environ:
        raise RuntimeError("Name the file to serve: MODEL=churn.onnx uvicorn ...")
    table = ExportedTable(os.environ["MODEL"])
    Row = row_of(table)
    some = Body(min_length=1, max_length=MOST_ROWS)
    app = FastAPI(title="A stack, served")

    @app.post("/predict")
    def predict(
        rows: Annotated[list[Row], some],  # pyright: ignore[reportInvalidTypeForm]
    ) -> list[dict[str, Any]]:
        records = [row.model_dump(by_alias=True) for row in rows]
        return table.answers({name: [record[name] for record in records] for name in table.columns})

    @app.exception_handler(RequestValidationError)
    def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        # Without the values that were sent: NaN, which Python's JSON has, cannot be sent back.
        wrong = [{key: found[key] for key in ("type", "loc", "msg")} for found in error.errors()]
        return JSONResponse({"detail": wrong}, 422)

    return app


def row_of(table: ExportedTable) -> type[BaseModel]:
    """Return the model of one row: every column, and none else; each may be null."""
    fields: dict[str, Any] = {}
    for number, (name, dtype) in enumerate(table.columns.items()):
        kind = str | None if dtype == "string" else float | bool | None
        fields[f"column_{number}"] = kind, Field(alias=name)
    return create_model("Row", __config__=ConfigDict(extra="forbid", strict=True), **fields)
