"""Which operations count, by which formula, and which are left out on purpose.

`torch.utils.flop_counter` has the formulas of convolutions, matrix products and fused attention. Small products
it lacks, and on torch 2.11 the CPU's fused attention, are added here. Everything else that computes is either on the
list of what every published table leaves out (norms, activations, softmax, pooling, resampling, element-wise
arithmetic, moving data), or is unknown, and is reported by name.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from hmhsa_insert.torch_private import HigherOrderOperator

aten = torch.ops.aten

CONVOLUTIONS = frozenset(
    {aten.convolution, aten._convolution, aten.cudnn_convolution, aten._slow_conv2d_forward}
)
# Product -> the positions of its bias (None: it has none) and of its two factors among the arguments.
PRODUCTS: dict[Any, tuple[int | None, int, int]] = {
    aten.mm: (None, 0, 1),
    aten.bmm: (None, 0, 1),
    aten.mv: (None, 0, 1),
    aten.addmm: (0, 1, 2),
    aten.baddbmm: (0, 1, 2),
    aten.addmv: (0, 1, 2),
}
FUSED_ATTENTION = frozenset(
    {
        aten._scaled_dot_product_efficient_attention,
        aten._scaled_dot_product_flash_attention,
        aten._scaled_dot_product_flash_attention_for_cpu,
        aten._scaled_dot_product_cudnn_attention,
    }
)

# What the tables of the field leave out: by torch's own tags (and views, and what reads no tensor), …
_FREE_TAGS = {torch.Tag.pointwise, torch.Tag.inplace_view}
# … and by name, a trailing underscore aside, what older releases of torch have no tag for: reductions, norms, then
# activations and softmax, pooling, resampling, moving data, making data, drawing it.
_FREE_NAMES = """
all amax amin aminmax any argmax argmin count_nonzero linalg_vector_norm linalg__powsum logsumexp max mean min
nansum norm prod std std_mean sum var var_mean
native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_with_update
_batch_norm_no_update cudnn_batch_norm miopen_batch_norm native_group_norm native_layer_norm
_weight_norm_interface _softmax _log_softmax _safe_softmax glu hardtanh hardswish _prelu_kernel rrelu_with_noise
celu elu hardsigmoid leaky_relu selu log_sigmoid_forward cumsum cumprod logcumsumexp median nanmedian mode
kthvalue bincount max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d adaptive_max_pool2d
adaptive_max_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d fractional_max_pool2d mkldnn_max_pool2d upsample_nearest1d
upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d upsample_linear1d
upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa
pixel_shuffle pixel_unshuffle channel_shuffle im2col col2im constant_pad_nd reflection_pad1d reflection_pad2d
reflection_pad3d replication_pad1d replication_pad2d replication_pad3d cat stack roll flip rot90 repeat
repeat_interleave tril triu index index_select index_put _index_put_impl gather scatter scatter_add
select_scatter slice_scatter masked_fill masked_scatter masked_select embedding nonzero sort topk bucketize
searchsorted _unique2 copy _to_copy _unsafe_view _reshape_copy lift lift_fresh_copy resize_as resize
_local_scalar_dense is_same_size _assert_async _assert_tensor_metadata record_stream empty_like zeros_like
ones_like full_like new_empty new_zeros new_ones new_full new_empty_strided fill zero native_dropout bernoulli
uniform normal random exponential cauchy geometric log_normal rand_like randn_like
"""
_FREE = frozenset(_FREE_NAMES.split())


@functools.cache
def left_out(function: Any) -> bool:
    """Return True if the overload `function` is an operation that tables of costs leave out on purpose."""
    if isinstance(function, HigherOrderOperator):
        return False
    if function.is_view or _FREE_TAGS & set(function.tags):
        return True
    namespace, _, name = function._schema.name.partition("::")
    if namespace not in ("aten", "prim"):
        return False
    if namespace == "prim" or name in _FREE or name.rstrip("_") in _FREE:
        return True
    # An operation that reads no tensor makes one, and computes nothing.
    return not any("Tensor" in str(argument.type) for argument in function._schema.arguments)
