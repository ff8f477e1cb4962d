"""imbalanced-learn's pipelines: their samplers do nothing when rows are predicted."""

from imblearn.pipeline import Pipeline

from stackfuse._export.converters.compositions.compose import through_steps
from stackfuse._export.graph.convert import converter_for


@converter_for(Pipeline, frames=True)
def _pipeline(estimator, x, method):
    *before, last = (step for _, step in estimator.steps)
    transformers = [step for step in before if not hasattr(step, "fit_resample")]
    return through_steps(transformers, last, x, method)
