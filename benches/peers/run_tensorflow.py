"""TensorFlow with Keras: a training step. The settings are Keras' `train_on_batch`, and a step in one `tf.function`."""

import os

import timing

arguments = timing.arguments(["keras", "function"])
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf
from keras import layers

tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
keras.utils.set_random_seed(1)


def thesis():
    return keras.Sequential([
        layers.Input((64, 64, 3)),
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(1),
    ])


def keras_step(model, x, y):
    model.compile(optimizer="adam", loss=keras.losses.BinaryCrossentropy(from_logits=True))
    return lambda: float(model.train_on_batch(x, y))


def function_step(model, x, y):
    loss_of, optimizer = keras.losses.BinaryCrossentropy(from_logits=True), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)

    @tf.function
    def train(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    return lambda: float(train(x, y))


assert (arguments.network, arguments.kind) == ("thesis", "train"), "nothing else is written down here"
model = thesis()
assert model.count_params() == timing.PARAMETERS["thesis"]
x, y = map(tf.constant, timing.pictures(arguments.batch, channels_first=False))
step = {"keras": keras_step, "function": function_step}[arguments.setting](model, x, y)
timing.answer(f"{tf.__version__}, Keras {keras.__version__}", timing.measure(step, arguments.seconds))
