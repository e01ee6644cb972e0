"""Slots of the frame that Python and a kernel share: 64 bits each, an integer or a float.

Kept apart from `pool`, which needs Numba: frames are written without it.
"""

from __future__ import annotations

# the call
THREADS = 0
THREAD_NUMBER = 1  # address of omp_get_thread_num, or 0
BLOCKS = 2
KERNEL = 3  # its address
FINISHED = 4  # blocks done
REJECTED = 5  # blocks with a target the kernel is not for
REDO = 6  # only the blocks left undone
RESULT_IS_DOUBLE = 7
RESULT = 8  # address of the reduced loss, or 0
RESULT_FACTOR = 9  # what the sum of losses is multiplied by

# every link
LOGITS = 10
TARGETS = 11
GRADIENT = 12
LOSSES = 13  # address of the unreduced losses
COUNT = 14  # elements of a sigmoid, positions of a softmax
IGNORING = 15  # whether there is a target value that counts for nothing,
IGNORED = 16  # and which
GAMMA_POSITIVE = 17  # the gamma of a softmax
GAMMA_NEGATIVE = 18
FACTOR = 19  # what every slope is multiplied by
KEPT_SHARE = 20  # label smoothing reads a target y as y * KEPT_SHARE + SPREAD_SHARE
SPREAD_SHARE = 21

# sigmoid
ALPHA_POSITIVE = 22
ALPHA_NEGATIVE = 23
# what is read per element: alpha and gamma of positives and negatives, weight, factor; for each an
# address and three strides, or 0 and a number
PARAMETERS = 24
MIDDLE = PARAMETERS + 4 * 6  # sizes of the middle and the inner axis of those strides
INNER = MIDDLE + 1

# softmax
CLASSES = 22
INNER_SIZE = 23  # positions behind the class axis
GROUP = 24  # positions per block
ALPHA = 25  # address of class weights, or 0
WEIGHT = 26  # address of one weight per position, or 0
FACTORS = 27  # address of one factor per position, or 0
GAMMAS = 28  # address of gammas, or 0,
GAMMA_BY_CLASS = 29  # which: one of the three below
BY_POSITION, BY_CLASS, BY_ELEMENT = range(3)
LARGEST_GROUP = 512  # positions of a block, at most

COUNTERS = INNER + 1  # one per thread, a cache line apart
COUNTER_STRIDE = 8

# elements that a sigmoid kernel takes through a chain of short loops at once
TILE = 128
# elements per block of it: sums stay short. Six arrays of parameters leave less room in the cache.
BLOCK, BLOCK_OF_ARRAYS = 4096, 1024
