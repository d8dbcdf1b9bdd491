"""MeCo: correlations between the channels of every layer."""

from jaxproxy.measure import Layers
from jaxproxy.meters import smallest_correlation
from jaxproxy.proxies._proxy import Inputs, Proxy, data_setup, proxy


@proxy
def meco(*, layers: Layers = "leaf", inputs: Inputs = "gaussian") -> Proxy:
    """Sum over layers of the smallest eigenvalue of the channels' correlations.

    On a single image. The published code reads every module, so that outputs of
    containers count again; here every activation counts once.

    Args:
      layers: which activations count, a name in ``meters.ACTIVATIONS``.
      inputs: ``"gaussian"`` noise, or the first of the user's ``"images"``.
    """
    meter = smallest_correlation(layers).under(data_setup(inputs, batch_size=1))
    return Proxy(
        meters=(meter,),
        score=lambda readings: readings[meter].sum(),
        reference="Jiang et al., MeCo, NeurIPS 2023",
    )
