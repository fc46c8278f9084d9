"""What TensorRT's ONNX parser takes, as its own documents say.

Sources:

- docs/operators.md of onnx-tensorrt for TensorRT 10.15: operators, types and restrictions, opsets 9 to 24.
- ONNX Opset Guide of the TensorRT 11 documentation: opsets 9 to 25; the release notes of 11.5 name it as the
  first with 25.
- Docstrings of IQuantizeLayer and IDequantizeLayer in the published bindings 10.16 and 11.4: zero-points are
  zeros, scale and zero-point are build-time constants, a scale is a scalar or as long as its axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = [
    "BLOCK_SIZES",
    "CONSTANT_INPUTS",
    "FIRST_OPSET",
    "FIXED_ATTRIBUTES",
    "LAST_OPSET",
    "LEAST_WIDTH",
    "MOVES",
    "NARROW_INPUTS",
    "OLD_IR",
    "ONLY_OUTPUT",
    "OPERATORS",
    "OPSET_OF_BOTH",
    "QUANTIZED",
    "REFUSED",
    "STANDARD",
    "TYPES",
    "UNFUSED",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STANDARD: Final = ("", "ai.onnx")
FIRST_OPSET: Final = 9
OPSET_OF_BOTH: Final = 24  # TensorRT 10.15 and all of 11
LAST_OPSET: Final = 25  # TensorRT 11.5
OLD_IR: Final = 10  # of ONNX 1.16 and 1.17, which the parsers of TensorRT 10 were built with

OPERATORS: Final = _words(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization
    BlackmanWindow Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos
    Cosh CumSum DeformConv DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand
    EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool
    GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization GRU HammingWindow HannWindow
    HardSigmoid HardSwish Hardmax Identity If ImageScaler InstanceNormalization IsInf IsNaN
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool
    MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonMaxSuppression NonZero Not
    OneHot Or Pad ParametricSoftplus Pow PRelu QuantizeLinear RandomNormal RandomNormalLike
    RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    ReverseSequence RMSNormalization RNN RoiAlign RotaryEmbedding Round STFT ScaledTanh Scan Scatter
    ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus
    Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh TensorScatter ThresholdedRelu Tile TopK
    Transpose Trilu Unsqueeze Upsample Where Xor
    """
)

# What quantizers of other runtimes write, and what to ask them for instead.
REFUSED: Final[Mapping[str, str]] = {
    "DynamicQuantizeLinear": "quantize activations with fixed scales (int8-static)",
    "MatMulInteger": "write the product in float between DequantizeLinear (int8-static)",
    "ConvInteger": "write the convolution in float between DequantizeLinear",
    "QLinearConv": "write QuantizeLinear and DequantizeLinear around a float Conv (QDQ format)",
    "QLinearMatMul": "write QuantizeLinear and DequantizeLinear around a float MatMul (QDQ format)",
    "MatMulNBits": "store the weights as int4 behind DequantizeLinear with block_size",
    "DynamicQuantizeMatMul": "quantize activations with fixed scales (int8-static)",
    "SkipLayerNormalization": "check the graph as it was exported, not one that ONNX Runtime has optimised",
}

TYPES: Final = _words(
    """
    FLOAT FLOAT16 BFLOAT16 DOUBLE INT32 INT64 BOOL INT8 INT4 FLOAT8E4M3FN FLOAT4E2M1
    """
)
QUANTIZED: Final = _words(
    """
    INT8 INT4 FLOAT8E4M3FN FLOAT4E2M1
    """
)  # between Q and DQ only
NARROW_INPUTS: Final[Mapping[str, str]] = {
    "DOUBLE": "TensorRT computes it in fp32 and clamps what does not fit",
    "UINT8": "TensorRT takes it at the border of a network only, to be cast at once",
    "BFLOAT16": "needs an Ampere GPU or a later one",
}

# Inputs that must be known when the engine is built.
CONSTANT_INPUTS: Final[Mapping[str, int]] = {
    "CumSum": 1,
    "OneHot": 1,
    "Squeeze": 1,
    "Unsqueeze": 1,
    **dict.fromkeys((name for name in OPERATORS if name.startswith("Reduce")), 1),
}
# Operators of which TensorRT gives the first output only.
ONLY_OUTPUT: Final = frozenset({"LayerNormalization", "MaxPool"})
# Attributes that have one value in TensorRT.
FIXED_ATTRIBUTES: Final[Mapping[str, tuple[str, int | str]]] = {
    "LSTM": ("input_forget", 0),
    "ScatterND": ("reduction", "none"),
    "TopK": ("sorted", 1),
}

# Of int4 weights. No document of TensorRT that was read names them: a warning only, from memory.
BLOCK_SIZES: Final = (64, 128)
LEAST_WIDTH: Final = (
    16  # integer products with fewer inputs or outputs gain nothing (ModelOpt 0.44 skips them)
)
# Float functions that lose their fused kernel when a quantizer stands before them.
UNFUSED: Final = frozenset({"Erf", "Gelu", "LayerNormalization", "RMSNormalization", "Softmax", "Tanh"})
MOVES: Final = frozenset({"Concat", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
