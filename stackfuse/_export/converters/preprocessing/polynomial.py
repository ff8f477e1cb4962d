"""Products of features: each is a product of one degree less, times one more feature."""

from itertools import combinations, combinations_with_replacement

from sklearn.preprocessing import PolynomialFeatures

from stackfuse._core.errors import NotConvertible
from stackfuse._export.graph.convert import convert_transformer


@convert_transformer(PolynomialFeatures)
def _polynomial(estimator, x):
    from keras import ops

    lowest, highest = estimator._min_degree, estimator._max_degree
    chosen = combinations if estimator.interaction_only else combinations_with_replacement
    blocks = [ops.ones_like(x[:, :1])] if estimator.include_bias else []
    powers = x
    places: dict[tuple[int, ...], int] = {(k,): k for k in range(x.shape[1])}
    for degree in range(1, highest + 1):
        if degree > 1:
            products = list(chosen(range(x.shape[1]), degree))
            if not products:
                break
            # In the order in which scikit-learn multiplies, to the last bit.
            rest = ops.take(powers, [places[product[1:]] for product in products], axis=1)
            powers = rest * ops.take(x, [product[0] for product in products], axis=1)
            places = {product: k for k, product in enumerate(products)}
        if degree >= lowest:
            blocks.append(powers)
    if not blocks:
        raise NotConvertible("PolynomialFeatures returns no columns.")
    return blocks[0] if len(blocks) == 1 else ops.concatenate(blocks, axis=1)
