"""Slots of the frame that Python and a kernel share: 64 bits each, an integer or a float.

Kept apart from `pool`, which needs Numba: frames are written without it.
"""

from __future__ import annotations


class Slots:
    """Numbers slots one after another, and keeps what each holds.

    Attributes:
        kinds: a letter per slot: "q" an integer, "d" a double, "r" a number in the computing dtype.
    """

    def __init__(self, before: Slots | None = None) -> None:
        self.kinds: str = before.kinds if before else ""

    def __call__(self, kind: str) -> int:
        """The next number; of the first of them if there are several kinds."""
        first = len(self.kinds)
        self.kinds += kind
        return first


_every = Slots()
# the call
THREADS = _every("q")
THREAD_NUMBER = _every("q")  # address of omp_get_thread_num, or 0
BLOCKS = _every("q")
KERNEL = _every("q")  # its address
FINISHED = _every("q")  # blocks done
REJECTED = _every("q")  # blocks with a target the kernel is not for
REDO = _every("q")  # only the blocks left undone
RESULT_IS_DOUBLE = _every("q")
RESULT = _every("q")  # address of the reduced loss, or 0
RESULT_FACTOR = _every("d")  # what the sum of losses is multiplied by

# every link
LOGITS = _every("q")
TARGETS = _every("q")
GRADIENT = _every("q")
LOSSES = _every("q")  # address of the unreduced losses
COUNT = _every("q")  # elements of a sigmoid, positions of a softmax
IGNORING = _every("q")  # whether there is a target value that counts for nothing,
IGNORED = _every("q")  # and which
COUNT_LAYOUT = _every.kinds[RESULT_IS_DOUBLE:]  # all that a count needs
GAMMA_POSITIVE = _every("r")  # the gamma of a softmax
GAMMA_NEGATIVE = _every("r")
FACTOR = _every("r")  # what every slope is multiplied by
KEPT_SHARE = _every("r")  # label smoothing reads a target y as y * KEPT_SHARE + SPREAD_SHARE
SPREAD_SHARE = _every("r")

_sigmoid = Slots(_every)
ALPHA_POSITIVE = _sigmoid("r")
ALPHA_NEGATIVE = _sigmoid("r")
BETA = _sigmoid("r")  # how fast negatives weigh less towards a heatmap's peak
POSITIVES = _sigmoid("q")  # address of which elements are positive, or 0
# What Python writes begins behind what `launch` does by itself.
SIGMOID_LAYOUT = _sigmoid.kinds[RESULT_IS_DOUBLE:]
# what is read per element: alpha and gamma of positives and negatives, weight, factor; for each an
# address and three strides, or 0 and a number
ARRAY_LAYOUT, NUMBER_LAYOUT = "qqqq", "qrqq"
PARAMETERS = _sigmoid(6 * ARRAY_LAYOUT)
SIZES_LAYOUT = "qq"
MIDDLE = _sigmoid(SIZES_LAYOUT)  # sizes of the middle and the inner axis of those strides
INNER = MIDDLE + 1

_softmax = Slots(_every)
CLASSES = _softmax("q")
INNER_SIZE = _softmax("q")  # positions behind the class axis
GROUP = _softmax("q")  # positions per block
ALPHA = _softmax("q")  # address of class weights, or 0
WEIGHT = _softmax("q")  # address of one weight per position, or 0
FACTORS = _softmax("q")  # address of one factor per position, or 0
GAMMAS = _softmax("q")  # address of gammas, or 0,
GAMMA_BY_CLASS = _softmax("q")  # which: one of the three below
SOFTMAX_LAYOUT = _softmax.kinds[RESULT_IS_DOUBLE:]
BY_POSITION, BY_CLASS, BY_ELEMENT = range(3)
LARGEST_GROUP = 512  # positions of a block, at most

COUNTERS = max(len(_sigmoid.kinds), len(_softmax.kinds))  # one per thread, a cache line apart
COUNTER_STRIDE = 8

# elements that a sigmoid kernel takes through a chain of short loops at once, at most
LARGEST_TILE = 1024
# elements per block of it: sums stay short. Six arrays of parameters leave less room in the cache.
BLOCK, BLOCK_OF_ARRAYS = 4096, 1024
COUNTED_BLOCK = 32_768  # targets per block of a count
