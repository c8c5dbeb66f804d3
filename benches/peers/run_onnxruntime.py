"""ONNX Runtime: a prediction of the thesis' network, with random weights."""

import numpy
import onnxruntime
import timing
from onnx import TensorProto, checker, helper, numpy_helper

# Each layer reads what the one before has written, and then its weight and bias.
LAYERS = [
    ("Conv", [(32, 3, 3, 3), (32,)], {}),
    ("Relu", [], {}),
    ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("Conv", [(32, 32, 3, 3), (32,)], {}),
    ("Relu", [], {}),
    ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("Flatten", [], {}),
    ("Gemm", [(6272, 128), (128,)], {}),
    ("Relu", [], {}),
    ("Gemm", [(128, 1), (1,)], {}),
    ("Sigmoid", [], {}),
]


def thesis(batch):
    """x [N, 3, 64, 64] → y [N, 1]"""
    random = numpy.random.default_rng(1)
    nodes, tensors, last = [], [], "x"
    for number, (kind, shapes, settings) in enumerate(LAYERS):
        names = [f"{kind}{number}.{place}" for place in range(len(shapes))]
        drawn = (random.normal(0, 0.05, shape).astype(numpy.float32) for shape in shapes)
        tensors += [numpy_helper.from_array(array, name) for array, name in zip(drawn, names)]
        output = "y" if number + 1 == len(LAYERS) else f"{kind}{number}"
        nodes.append(helper.make_node(kind, [last, *names], [output], **settings))
        last = output
    assert sum(numpy_helper.to_array(tensor).size for tensor in tensors) == timing.PARAMETERS["thesis"]
    of_shape = helper.make_tensor_value_info
    x, y = of_shape("x", TensorProto.FLOAT, [batch, 3, 64, 64]), of_shape("y", TensorProto.FLOAT, [batch, 1])
    graph = helper.make_graph(nodes, "thesis", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()


arguments = timing.arguments(["session"])
assert (arguments.network, arguments.kind) == ("thesis", "infer"), "nothing else is written down here"
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = arguments.threads
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(thesis(arguments.batch), options, providers=["CPUExecutionProvider"])
x, _ = timing.pictures(arguments.batch, channels_first=True)
y = numpy.empty((arguments.batch, 1), numpy.float32)
# Both ends in memory that is there already.
bound = session.io_binding()
bound.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
bound.bind_output("y", "cpu", 0, numpy.float32, y.shape, y.ctypes.data)
timing.answer(onnxruntime.__version__, timing.measure(lambda: session.run_with_iobinding(bound), arguments.seconds))
assert numpy.isfinite(y).all() and y.min() > 0, "nothing was predicted"
