"""A model of MLflow that takes the table's own columns and answers with the classes' names.

Pass this file as ``python_model`` to ``mlflow.pyfunc.log_model``, and the ONNX file as the artifact
``"file"``.
"""

import pandas as pd
from exported_table import ExportedTable
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class Table(PythonModel):
    """A stack over a table, in an ONNX file."""

    def load_context(self, context) -> None:
        """Open the file."""
        self.table = ExportedTable(context.artifacts["file"])

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """Return the label and the probability of each class, or the prediction, in columns."""
        given = model_input.astype(object).where(model_input.notna(), None)
        return pd.json_normalize(self.table.answers(given))


set_model(Table())
