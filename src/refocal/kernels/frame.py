"""Slots of the frame that Python and a kernel share: 64 bits each, an integer or a float.

Kept apart from `numba_pool`, which needs Numba: frames are written without it.
"""

from __future__ import annotations

# the call
THREADS = 0
THREAD_NUMBER = 1  # address of omp_get_thread_num, or 0
BLOCKS = 2
FINISHED = 3  # blocks done
REJECTED = 4  # blocks with a target the kernel is not for
RESULT = 5  # address of the reduced loss, or 0
RESULT_FACTOR = 6  # what the sum of losses is multiplied by
REDO = 7  # only the blocks left undone

# every link
LOGITS = 8
TARGETS = 9
GRADIENT = 10
LOSSES = 11  # address of the unreduced losses
COUNT = 12  # elements of a sigmoid, positions of a softmax
IGNORING = 13  # whether there is a target value that counts for nothing,
IGNORED = 14  # and which
GAMMA_POSITIVE = 15  # the gamma of a softmax
GAMMA_NEGATIVE = 16
FACTOR = 17  # what every slope is multiplied by
KEPT_SHARE = 18  # label smoothing reads a target y as y * KEPT_SHARE + SPREAD_SHARE
SPREAD_SHARE = 19

# sigmoid
ALPHA_POSITIVE = 20
ALPHA_NEGATIVE = 21
# what is read per element: alpha and gamma of positives and negatives, weight, factor; for each an
# address and three strides, or 0 and a number
PARAMETERS = 22
MIDDLE = PARAMETERS + 4 * 6  # sizes of the middle and the inner axis of those strides
INNER = MIDDLE + 1

# softmax
CLASSES = 20
INNER_SIZE = 21  # positions behind the class axis
GROUP = 22  # positions per block
ALPHA = 23  # address of class weights, or 0
WEIGHT = 24  # address of one weight per position, or 0
FACTORS = 25  # address of one factor per position, or 0
GAMMAS = 26  # address of gammas, or 0,
GAMMA_BY_CLASS = 27  # one per class, not per position

COUNTERS = INNER + 1  # one per thread, a cache line apart
COUNTER_STRIDE = 8
