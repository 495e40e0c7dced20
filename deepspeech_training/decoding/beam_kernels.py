"""The beam search itself, compiled by numba; `beam` prepares its arrays, `compiled` imports this module.

Prefix beam search over the labels of CTC (Hannun et al. 2014), with the rules and the float32 arithmetic of the
deployed clients (ctcdecode of DeepSpeech 0.9.3 and Coqui STT 1.4.0), so that scores agree with 0.9.3 to the last
bit. Unlike there a prefix that cannot be among the best is never made: every prefix of a full beam gets at
least its blank, so what scores less than the worst of those is out.

Prefixes are the nodes of a tree, and so are the sequences of frames where their labels begin. A node's row in the
pools is kept while it is in the beam or has children; freed rows go onto a stack.
"""

import math

import numpy as np
from numba import njit

from deepspeech_training.decoding import language_model as lm

NONE = -1
FREED = -2  # the place of a node that is none any more
LOWEST = np.float32(-np.finfo(np.float32).max)  # the clients' minus infinity
TINY = float(np.finfo(np.float32).tiny)  # keeps the logarithm of a probability of 0 finite
LOG10_OF_E = float(np.float32(0.4342944819))
UNKNOWN_WORD = -1000.0
START_BELOW = 0.999  # nothing is expanded before the first frame whose blank is less probable
ROOT_LABEL = NONE
NO_EXTENSION = np.uint32(0x80000000)  # -0.0: a back-off of zero of an n-gram that is no context
NOT_FINAL = np.uint32(0x7F800000)
LONGEST_WORD_BYTES = 1024
# A sum of two probabilities whose logarithms are further apart is the larger one, in float32: exp(-17) < 2 ** -24.
NO_SUM_BEYOND = np.float32(-17.0)

# Places in `state`: first what is decided beforehand, then what changes.
(
    BEAM_WIDTH,
    BLANK,
    SPACE,
    HAS_SCORER,
    BYTES_MODE,
    CUTOFF_TOP_N,
    NUM_PREFIXES,
    FRAME,
    STARTED,
    FREE_NODE,
    FREE_NODES,
    FREE_TIME,
    FREE_TIMES,
    ROOT,
    TIME_ROOT,
    STAMP,
    STATE_LENGTH,
) = range(17)
# Places in `weights`.
ALPHA, BETA, CUTOFF_PROB, NUM_WEIGHTS = range(4)

SIZES_ORDER, SIZES_WORDS, SIZES_HASHES, SIZES_UNIGRAMS, SIZES_WORD_BITS, SIZES_SENTENCE = range(6)

compiled = njit(cache=True, nogil=True, error_model="numpy")
# Within the search nothing is allocated, so arrays need not be counted: that takes more time than the search itself.
uncounted = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]  # an option that numba does not list
# Called for each prefix of each frame: to pass all the arrays would cost more than the work.
inlined = njit(cache=True, nogil=True, error_model="numpy", _nrt=False, forceinline=True)  # type: ignore[call-overload]


# --- the language model ------------------------------------------------------------------------------------------


@uncounted
def _bits(data, bit, count):
    """`count` bits, up to 57, from a bit of the file on."""
    word, shift = bit >> 6, bit & 63
    value = data[word] >> np.uint64(shift)
    if shift + count > 64:
        value |= data[word + 1] << np.uint64(64 - shift)
    return value & ((np.uint64(1) << np.uint64(count)) - np.uint64(1))


@uncounted
def _float(data, bit):
    return np.uint32(_bits(data, bit, 32)).view(np.float32)


@uncounted
def _has_extension(backoff):
    return np.float32(backoff).view(np.uint32) != NO_EXTENSION


@uncounted
def _clamp(value, entries):
    """An index from the file, within the n-grams that are there."""
    return min(max(np.int64(value), 0), entries)


@uncounted
def _find_word(data, level, word, word_bits, begin, end):
    """The entry of a word among those from `begin` to `end`, or NONE."""
    base, total = level[lm.BASE_BIT], level[lm.TOTAL_BITS]
    while begin < end:
        middle = (begin + end) >> 1
        found = np.int64(_bits(data, base + middle * total, word_bits))
        if found < word:
            begin = middle + 1
        elif found > word:
            end = middle
        else:
            return middle
    return NONE


@uncounted
def _last_not_above(data, first, length, value):
    """Place of the last element that is at most `value`, in an ascending array."""
    low, high = 0, length
    while low < high:
        middle = (low + high) >> 1
        if data[first + middle] <= np.uint64(value):
            low = middle + 1
        else:
            high = middle
    return max(low - 1, 0)


@uncounted
def _longer(data, level, entry):
    """The range of the n-grams that are one word longer than an entry's."""
    bits = level[lm.NEXT_BITS]
    at = level[lm.BASE_BIT] + entry * level[lm.TOTAL_BITS] + level[lm.TOTAL_BITS] - bits
    begin = np.int64(_bits(data, at, bits))
    end = np.int64(_bits(data, at + level[lm.TOTAL_BITS], bits))
    if level[lm.ARRAY_LENGTH]:
        array, length = level[lm.ARRAY_WORD], level[lm.ARRAY_LENGTH]
        begin |= _last_not_above(data, array, length, entry) << bits
        end |= _last_not_above(data, array, length, entry + 1) << bits
    return _clamp(begin, level[lm.NEXT_ENTRIES]), _clamp(end, level[lm.NEXT_ENTRIES])


@uncounted
def _entry_values(data, level, entry, word_bits):
    """-> log10 probability and back-off of an entry of orders 2 and up; the highest order has no back-off."""
    at = level[lm.BASE_BIT] + entry * level[lm.TOTAL_BITS] + word_bits
    prob_bits, backoff_bits = level[lm.PROB_BITS], level[lm.BACKOFF_BITS]
    backoff = np.float32(0)
    if not level[lm.PROB_TABLE_BIT]:  # the probability without its sign, then the back-off
        prob = np.uint32(_bits(data, at, 31) | np.uint64(0x80000000)).view(np.float32)
        if backoff_bits:
            backoff = _float(data, at + 31)
        return prob, backoff
    prob = _float(data, level[lm.PROB_TABLE_BIT] + 32 * np.int64(_bits(data, at + backoff_bits, prob_bits)))
    if backoff_bits:
        place = np.int64(_bits(data, at, backoff_bits))
        backoff = _float(data, level[lm.BACKOFF_TABLE_BIT] + 32 * place)
        if place == 0:  # the table's first two values are for zeros without and with extension
            backoff = np.float32(-0.0)
    return prob, backoff


@uncounted
def _score_word(trie, word, context, length, new_context):
    """log10 probability of a word after its context, and the context for the next one.

    Args:
        context, length: the words before it, the latest first, with their back-offs.
        new_context: where the context after it goes.
    Returns:
        float32 log10 probability; the length of the new context.
    """
    data, sizes = trie.data, trie.sizes
    order, word_bits = sizes[SIZES_ORDER], sizes[SIZES_WORD_BITS]
    at = sizes[SIZES_UNIGRAMS] + 128 * word
    prob, backoff = _float(data, at), _float(data, at + 32)
    begin = _clamp(data[(at + 64) >> 6], trie.levels[0, lm.ENTRIES])
    end = _clamp(data[(at + 192) >> 6], trie.levels[0, lm.ENTRIES])
    new_context[0].word, new_context[0].backoff = word, backoff
    new_length = 1 if _has_extension(backoff) else 0
    found = 1  # length of the longest n-gram that was found
    for place in range(length):
        if begin >= end:
            break
        level = trie.levels[place]
        entry = _find_word(data, level, context[place].word, word_bits, begin, end)
        if entry == NONE:
            break
        prob, backoff = _entry_values(data, level, entry, word_bits)
        found = place + 2
        if found == order:
            break
        new_context[place + 1].backoff = backoff
        if _has_extension(backoff):
            new_length = found
        begin, end = _longer(data, level, entry)
    for place in range(1, new_length):
        new_context[place].word = context[place - 1].word
    for place in range(found - 1, length):
        prob = np.float32(prob + context[place].backoff)
    if not (prob > np.float32(-1e30) and prob < np.float32(1e30)):  # of damaged files only
        prob = np.float32(-1e30)
    return prob, new_length


@compiled
def murmur_hash(data, length):
    """MurmurHash64A with seed 0 of the first bytes of uint8 `data`; see `language_model.murmur_hash`."""
    multiplier = np.uint64(0xC6A4A7935BD1E995)
    value = np.uint64(length) * multiplier
    whole = length // 8 * 8
    for start in range(0, whole, 8):
        block = np.uint64(0)
        for place in range(8):
            block |= np.uint64(data[start + place]) << np.uint64(8 * place)
        block *= multiplier
        block ^= block >> np.uint64(47)
        value ^= block * multiplier
        value *= multiplier
    if length > whole:
        for place in range(length - whole):
            value ^= np.uint64(data[whole + place]) << np.uint64(8 * place)
        value *= multiplier
    value ^= value >> np.uint64(47)
    value *= multiplier
    return value ^ (value >> np.uint64(47))


@uncounted
def word_of(trie, hashed):
    """Id of the word with a hash; 0 for a word that the model does not know."""
    data, first = trie.data, trie.sizes[SIZES_HASHES]
    begin, end = 0, trie.sizes[SIZES_WORDS]
    while begin < end:
        middle = (begin + end) >> 1
        if data[first + middle] < hashed:
            begin = middle + 1
        else:
            end = middle
    if begin < trie.sizes[SIZES_WORDS] and data[first + begin] == hashed:
        return begin + 1
    return 0


# --- words of prefixes -------------------------------------------------------------------------------------------


@uncounted
def _append_bytes(spelling, label, buffer, length):
    """Put the bytes of a label before what the end of `buffer` has; -> the new length, or NONE if it is full."""
    count = np.int64(spelling[label, 0])
    if length + count > len(buffer):
        return NONE
    for place in range(count):
        buffer[len(buffer) - length - count + place] = spelling[label, 1 + place]
    return length + count


@uncounted
def _word_hash(search, node, first_label, buffer):
    """Hash of the word that ends with a node, and after it `first_label` unless that is NONE; 0 if it is too long."""
    nodes, spelling = search.nodes, search.spelling
    length = 0
    if first_label != NONE:
        length = _append_bytes(spelling, first_label, buffer, length)
    stop = _context_of_child(search, node) if first_label != NONE else nodes[node].context
    at = node
    while at != stop and nodes[at].label != search.state[SPACE] and length != NONE:
        length = _append_bytes(spelling, nodes[at].label, buffer, length)
        at = nodes[at].parent
    if length == NONE:
        return np.uint64(0)
    return murmur_hash(buffer[len(buffer) - length :], length)


@inlined
def _context_of_child(search, node):
    """The node that has the language model's context for the character that continues after `node`, in bytes mode."""
    return node if search.nodes[node].complete else search.nodes[node].context


@inlined
def _completes_character(search, node, label):
    """Whether a UTF-8 character ends with the byte of `label` after those of `node`."""
    nodes = search.nodes
    byte, count = label + 1, 1
    while byte & 0xC0 == 0x80:
        if nodes[node].complete or count == 4:
            return False
        byte = nodes[node].label + 1
        node = nodes[node].parent
        count += 1
    if byte < 0x80:
        return count == 1
    if byte >> 5 == 0x06:
        return count == 2
    if byte >> 4 == 0x0E:
        return count == 3
    return byte >> 3 == 0x1E and count == 4


@uncounted
def _boost_of(hot, hashed):
    """What the hot word with a hash adds; `hot` is sorted by the hashes."""
    begin, end = 0, len(hot)
    while begin < end:
        middle = (begin + end) >> 1
        if hot[middle].hash < hashed:
            begin = middle + 1
        else:
            end = middle
    if begin < len(hot) and hot[begin].hash == hashed:
        return hot[begin].boost
    return np.float32(0)


@uncounted
def _score_spelling(search, trie, hashed, context, row):
    """Score the word with a hash after the context of a node; the context after it goes into `row`.

    Returns:
        log probability (natural), sum of the boosts of the hot words among it and those before it.
    """
    nodes, contexts = search.nodes, search.contexts
    order = trie.sizes[SIZES_ORDER]
    boost = total = np.float32(0)
    if len(search.hot):
        boost = _boost_of(search.hot, hashed)
        for back in range(order - 2, -1, -1):
            total = np.float32(total + contexts[context, back].boost)
        for back in range(order - 2, 0, -1):
            contexts[row, back].boost = contexts[context, back - 1].boost
        contexts[row, 0].boost = boost
        total = np.float32(total + boost)
    word = word_of(trie, hashed)
    if word == 0:
        nodes[row].context_length = 0
        nodes[row].since_unknown = 0
        return UNKNOWN_WORD, total
    prob, length = _score_word(trie, word, contexts[context], nodes[context].context_length, contexts[row])
    nodes[row].context_length = length
    since = min(nodes[context].since_unknown + 1, order)
    nodes[row].since_unknown = since
    if since < order:  # an unknown word among the last ones counts as if it were this
        return UNKNOWN_WORD, total
    return np.float64(prob) / LOG10_OF_E, total


@uncounted
def _score_node(search, trie, node, buffer):
    """Score the word that ends with a node, once."""
    entry = search.nodes[node]
    if not entry.scored:
        hashed = _word_hash(search, node, NONE, buffer)
        entry.log_prob, entry.boost = _score_spelling(search, trie, hashed, entry.context, node)
        entry.scored = 1


@inlined
def _with_word(search, log_prob, word_log_prob, boost):
    """A prefix's score with that of the word that it completes, rounded where the clients round."""
    weights = search.weights
    log_prob = np.float32(log_prob + np.float32((word_log_prob + np.float64(boost)) * weights[ALPHA]))
    return np.float32(np.float64(log_prob) + weights[BETA])


# --- the trees ---------------------------------------------------------------------------------------------------


@inlined
def _new_node(search, trie, parent, label, dictionary_state, buffer):
    """A child of a prefix; the row of an earlier one with the label is used again, if its own children kept it."""
    nodes, state = search.nodes, search.state
    child = nodes[parent].first_child
    while child != NONE:
        if nodes[child].label == label:
            return child
        child = nodes[child].next_sibling
    node = state[FREE_NODE]
    entry = nodes[node]
    state[FREE_NODE] = entry.parent
    state[FREE_NODES] -= 1
    entry.parent, entry.label, entry.state = parent, label, dictionary_state
    entry.first_child, entry.previous_sibling, entry.scored = NONE, NONE, 0
    entry.next_sibling = nodes[parent].first_child
    if entry.next_sibling != NONE:
        nodes[entry.next_sibling].previous_sibling = node
    nodes[parent].first_child = node
    entry.context, entry.complete = nodes[parent].context, 0
    if state[HAS_SCORER]:
        if state[BYTES_MODE]:
            entry.context = _context_of_child(search, parent)
            if _completes_character(search, parent, label):
                entry.complete = 1
                _score_node(search, trie, node, buffer)
        elif label == state[SPACE]:
            entry.context = parent
    return node


@inlined
def _free_node(nodes, state, node):
    """Put a node on the stack of the free ones, which hang together by `parent`."""
    nodes[node].place = FREED
    nodes[node].parent = state[FREE_NODE]
    state[FREE_NODE] = node
    state[FREE_NODES] += 1


@inlined
def _free_time(times, state, time):
    times[time].parent = state[FREE_TIME]
    state[FREE_TIME] = time
    state[FREE_TIMES] += 1


@inlined
def _drop_node(search, node):
    """Free a node that left the beam, and those above it that it was the last one to need."""
    nodes, state = search.nodes, search.state
    while node != state[ROOT] and nodes[node].place == NONE and nodes[node].first_child == NONE:
        parent = nodes[node].parent
        before, after = nodes[node].previous_sibling, nodes[node].next_sibling
        if before == NONE:
            nodes[parent].first_child = after
        else:
            nodes[before].next_sibling = after
        if after != NONE:
            nodes[after].previous_sibling = before
        _free_node(nodes, state, node)
        node = parent


@inlined
def _new_time(search, parent, frame):
    times, state = search.times, search.state
    time = state[FREE_TIME]
    state[FREE_TIME] = times[time].parent
    state[FREE_TIMES] -= 1
    times[time].parent, times[time].frame, times[time].users = parent, frame, 1
    times[time].children, times[time].children_xor = 0, 0
    times[parent].children += 1
    times[parent].children_xor ^= time
    return time


@inlined
def _release_time(search, time):
    times, state = search.times, search.state
    times[time].users -= 1
    while time != state[TIME_ROOT] and times[time].users == 0 and times[time].children == 0:
        parent = times[time].parent
        times[parent].children -= 1
        times[parent].children_xor ^= time
        _free_time(times, state, time)
        time = parent


# --- one frame ---------------------------------------------------------------------------------------------------


@inlined
def log_sum(x, y):
    """log(exp(x) + exp(y)) in float32."""
    if x <= LOWEST:
        return y
    if y <= LOWEST:
        return x
    larger, difference = (x, np.float32(y - x)) if x >= y else (y, np.float32(x - y))
    if difference < NO_SUM_BEYOND:
        return larger
    return np.float32(math.log(np.float32(np.float32(1) + math.exp(difference))) + larger)


@inlined
def _is_likelier(classes, label, other):
    if classes[label].prob == classes[other].prob:
        return label < other
    return classes[label].prob > classes[other].prob


@uncounted
def _rank_classes(search, probs):
    """Log probabilities of a frame by class, and the classes from likely to unlikely.

    Classes that the cutoffs leave out are not among those, and have the lowest value. As in the clients
    `cutoff_top_n` cuts only where `cutoff_prob` is below 1; but where it is less than the number of classes, these are
    visited in the order of their probability, otherwise in that of the alphabet.

    Returns:
        how many classes are left, and whether they are visited by probability.
    """
    state, classes = search.state, search.classes
    num_classes = state[BLANK] + 1
    top_n, cutoff = state[CUTOFF_TOP_N], search.weights[CUTOFF_PROB]
    for label in range(num_classes):
        prob = np.float64(probs[label])
        if not prob > 0:  # NaN too
            prob = np.float64(0)
        classes[label].prob = prob
        classes[label].log_prob = np.float32(math.log(prob + TINY))
        classes[label].ranked = label
    gap = 1  # Shell's sort with Knuth's gaps: in place, and quick for alphabets of any size
    while gap < num_classes // 9:
        gap = 3 * gap + 1
    while gap > 0:
        for start in range(gap, num_classes):
            label, place = classes[start].ranked, start
            while place >= gap and _is_likelier(classes, label, classes[place - gap].ranked):
                classes[place].ranked = classes[place - gap].ranked
                place -= gap
            classes[place].ranked = label
        gap //= 3
    kept = num_classes
    if cutoff < 1:
        kept, total = 0, 0.0
        while kept < num_classes:
            total += classes[classes[kept].ranked].prob
            kept += 1
            if total >= cutoff or kept >= top_n:
                break
        for place in range(kept, num_classes):
            classes[classes[place].ranked].log_prob = LOWEST
    return kept, cutoff < 1 or top_n < num_classes


@inlined
def _find_arc(dictionary, state, label):
    """The next state of the dictionary after a label, or NONE; a word's end leads back to the start."""
    states, arcs = dictionary.states, dictionary.arcs
    begin = np.int64(states[state, 1])
    last = begin + np.int64(states[state, 2])
    end = last
    while begin < end:
        middle = (begin + end) >> 1
        if arcs[middle, 0] < label + 1:
            begin = middle + 1
        else:
            end = middle
    if begin == last or arcs[begin, 0] != label + 1:
        return NONE
    target = np.int64(arcs[begin, 3])
    return target if states[target, 0] == NOT_FINAL else np.int64(dictionary.start)


@inlined
def _keep_on(search, trie, place, min_cutoff, by_probability, buffer):
    """The new scores of a prefix of the beam: after a blank, its last label again, or that label after its parent."""
    nodes, state = search.nodes, search.state
    prefix = search.prefixes[place]
    blank_log_prob = search.classes[state[BLANK]].log_prob
    label, score = nodes[prefix.node].label, prefix.score
    label_score, time_parent = LOWEST, NONE
    log_prob = LOWEST if label == ROOT_LABEL else search.classes[label].log_prob
    if log_prob > LOWEST:
        again = LOWEST
        if score > LOWEST and np.float32(log_prob + score) >= min_cutoff and prefix.label_score > LOWEST:
            again = np.float32(log_prob + prefix.label_score)
        from_parent, parent_first = LOWEST, False
        parent = nodes[prefix.node].parent
        parent_place = nodes[parent].place if parent != NONE else NONE
        if parent_place != NONE:
            parent_score = search.prefixes[parent_place].score
            if parent_score > LOWEST and np.float32(log_prob + parent_score) >= min_cutoff:
                from_parent = _extended(search, trie, parent_place, label, prefix.node, buffer)
            parent_label = nodes[parent].label
            parent_first = state[HAS_SCORER] != 0 and (  # type: ignore[assignment]  # to numba both are booleans
                parent_score > score or (parent_score == score and np.uint32(parent_label) < np.uint32(label))
            )
        label_score = log_sum(again, from_parent)
        if from_parent > again or (from_parent == again and parent_first and from_parent > LOWEST):
            time_parent = search.prefixes[parent_place].time
    blank_score = LOWEST
    if blank_log_prob > LOWEST and score > LOWEST and np.float32(blank_log_prob + score) >= min_cutoff:
        blank_score = np.float32(blank_log_prob + score)
        visited_after = not by_probability or (
            label != ROOT_LABEL and search.classes[state[BLANK]].rank > search.classes[label].rank
        )
        if visited_after and label_score < blank_score:
            time_parent = NONE
    prefix.new_blank_score, prefix.new_label_score = blank_score, label_score
    prefix.new_time_parent = time_parent
    return log_sum(blank_score, label_score)


@inlined
def _extended(search, trie, place, label, child, buffer):
    """Score of a prefix of the beam with one more label; `child` is the node of the result, NONE if there is none."""
    nodes, state = search.nodes, search.state
    node = search.prefixes[place].node
    before = search.prefixes[place].blank_score if nodes[node].label == label else search.prefixes[place].score
    if before <= LOWEST:
        return LOWEST
    log_prob = np.float32(search.classes[label].log_prob + before)
    if not state[HAS_SCORER]:
        return log_prob
    if state[BYTES_MODE]:
        if not _completes_character(search, node, label):
            return log_prob
        if child != NONE:
            _score_node(search, trie, child, buffer)
            return _with_word(search, log_prob, nodes[child].log_prob, nodes[child].boost)
        spare = len(nodes) - 1
        hashed = _word_hash(search, node, label, buffer)
        word, boost = _score_spelling(search, trie, hashed, _context_of_child(search, node), spare)
        return _with_word(search, log_prob, word, boost)
    if label == state[SPACE]:
        _score_node(search, trie, node, buffer)
        return _with_word(search, log_prob, nodes[node].log_prob, nodes[node].boost)
    return log_prob


@uncounted
def _select(values, count, rank):
    """The `rank`-th largest (from 0) of the first `count` values, whose order it changes (Hoare 1961)."""
    low, high = 0, count - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if rank <= right:
            high = right
        elif rank >= left:
            low = left
        else:
            break
    return values[rank]


@inlined
def _set_candidate(candidate, place, label, state, score):
    candidate.place, candidate.label, candidate.state, candidate.score = place, label, state, score


@inlined
def _add_candidate(search, count, lowest, place, label, state, score):
    """Remember a new prefix; where there is no room, only the best stay. -> their number, the lowest score wanted."""
    if count == len(search.candidates):
        width = search.state[BEAM_WIDTH]
        for index in range(count):
            search.values[index] = search.candidates[index].score
        lowest = max(lowest, _select(search.values, count, width - 1))
        kept, ties = 0, 0
        for index in range(count):
            old = search.candidates[index]
            if old.score < lowest:
                continue
            if old.score == lowest:
                ties += 1
                if ties > width:
                    continue
            _set_candidate(search.candidates[kept], old.place, old.label, old.state, old.score)
            kept += 1
        count = kept
        if score < lowest:
            return count, lowest
    _set_candidate(search.candidates[count], place, label, state, score)
    return count + 1, lowest


@inlined
def _extend(search, trie, dictionary, place, kept, min_cutoff, lowest, count, buffer):
    """Collect the new prefixes that one of the beam gives; -> their number, the lowest score wanted."""
    nodes, state = search.nodes, search.state
    node, score = search.prefixes[place].node, search.prefixes[place].score
    if score <= LOWEST:
        return count, lowest
    stamped = False
    has_scorer, every = state[HAS_SCORER], state[BYTES_MODE]
    for rank in range(kept):
        label = search.classes[rank].ranked
        reach = np.float32(search.classes[label].log_prob + score)
        if reach < min_cutoff or (reach < lowest and not has_scorer):
            break
        if label == state[BLANK]:
            continue
        if not stamped:  # mark the labels whose prefixes are in the beam already
            stamped = True
            state[STAMP] += 1
            child = nodes[node].first_child
            while child != NONE:
                if nodes[child].place != NONE:
                    search.classes[nodes[child].label].stamp = state[STAMP]
                child = nodes[child].next_sibling
        if search.classes[label].stamp == state[STAMP]:
            continue
        # Only a word's end can raise a score, or what the scorer of bytes says of a character.
        if reach < lowest and not every and label != state[SPACE]:
            continue
        target = np.int64(0)
        if has_scorer:
            target = _find_arc(dictionary, nodes[node].state, label)
            if target == NONE:
                continue
        extended = _extended(search, trie, place, label, NONE, buffer)
        if extended > LOWEST and extended >= lowest:
            count, lowest = _add_candidate(search, count, lowest, place, label, target, extended)
    return count, lowest


@uncounted
def _choose(search, num_old, count):
    """Mark the best of the prefixes kept on (`chosen_old`) and of the new ones (`chosen_new`) to be the next beam."""
    width = search.state[BEAM_WIDTH]
    total = 0
    for place in range(num_old):
        search.prefixes[place].chosen = search.prefixes[place].new_score > LOWEST
        if search.prefixes[place].chosen:
            search.values[total] = search.prefixes[place].new_score
            total += 1
    for index in range(count):
        search.values[total] = search.candidates[index].score
        search.candidates[index].chosen = True
        total += 1
    if total <= width:
        return
    last = _select(search.values, total, width - 1)
    above = 0
    for place in range(num_old):
        search.prefixes[place].chosen = search.prefixes[place].new_score > last
        above += search.prefixes[place].chosen
    for index in range(count):
        search.candidates[index].chosen = search.candidates[index].score > last
        above += search.candidates[index].chosen
    # Equal scores: the lower label first, as in the clients.
    for _ in range(width - above):
        best, best_old, best_label = NONE, False, np.uint32(0)
        for place in range(num_old):
            label = np.uint32(search.nodes[search.prefixes[place].node].label)
            if (
                search.prefixes[place].new_score == last
                and not search.prefixes[place].chosen
                and (best == NONE or label < best_label)
            ):
                best, best_old, best_label = place, True, label
        for index in range(count):
            label = np.uint32(search.candidates[index].label)
            if (
                search.candidates[index].score == last
                and not search.candidates[index].chosen
                and (best == NONE or label < best_label)
            ):
                best, best_old, best_label = index, False, label
        if best == NONE:
            break
        if best_old:
            search.prefixes[best].chosen = True
        else:
            search.candidates[best].chosen = True


@uncounted
def _advance_beam(search, trie, num_old, count, buffer):
    """Make the chosen prefixes the beam, and free what is not needed any more."""
    nodes, state, prefixes = search.nodes, search.state, search.prefixes
    frame = state[FRAME]
    for index in range(count):
        candidate = search.candidates[index]
        if candidate.chosen:
            before = prefixes[candidate.place]
            candidate.node = _new_node(search, trie, before.node, candidate.label, candidate.state, buffer)
            nodes[candidate.node].place = 0  # it stays; which place is settled below
            candidate.time = _new_time(search, before.time, frame)
    for place in range(num_old):  # all new times before the first old one goes: they hang on those
        prefix = prefixes[place]
        prefix.new_time = prefix.time
        if prefix.chosen and prefix.new_time_parent != NONE:
            prefix.new_time = _new_time(search, prefix.new_time_parent, frame)
    for place in range(num_old):
        prefix = prefixes[place]
        if not prefix.chosen or prefix.new_time != prefix.time:
            _release_time(search, prefix.time)
        if not prefix.chosen:
            nodes[prefix.node].place = NONE
    for place in range(num_old):
        if not prefixes[place].chosen:
            _drop_node(search, prefixes[place].node)
    kept = 0
    for place in range(num_old):
        old, prefix = prefixes[place], prefixes[kept]
        if old.chosen:
            prefix.node, prefix.time = old.node, old.new_time
            prefix.blank_score, prefix.label_score = old.new_blank_score, old.new_label_score
            prefix.score = old.new_score
            kept += 1
    for index in range(count):
        candidate = search.candidates[index]
        if candidate.chosen:
            prefix = prefixes[kept]
            prefix.node, prefix.time = candidate.node, candidate.time
            prefix.blank_score, prefix.label_score, prefix.score = LOWEST, candidate.score, candidate.score
            kept += 1
    for place in range(kept):
        nodes[prefixes[place].node].place = place
    state[NUM_PREFIXES] = kept


@uncounted
def _one_frame(search, trie, dictionary, probs, buffer):
    state = search.state
    if np.float64(probs[state[BLANK]]) < START_BELOW:
        state[STARTED] = 1
    if not state[STARTED]:
        return
    num_old = state[NUM_PREFIXES]
    kept, by_probability = _rank_classes(search, probs)
    if by_probability:
        for rank in range(kept):
            search.classes[search.classes[rank].ranked].rank = rank
    full = num_old == state[BEAM_WIDTH]
    min_cutoff = LOWEST
    if state[HAS_SCORER] and full:
        worst = search.prefixes[0].score
        for place in range(1, num_old):
            worst = min(worst, search.prefixes[place].score)
        blank_prob = search.classes[state[BLANK]].prob
        if worst > LOWEST and blank_prob > 0:
            min_cutoff = np.float32(np.float64(worst) + math.log(blank_prob) - max(0.0, search.weights[BETA]))
    lowest = LOWEST
    for place in range(num_old):
        new_score = _keep_on(search, trie, place, min_cutoff, by_probability, buffer)
        search.prefixes[place].new_score = new_score
        if place == 0 or new_score < lowest:
            lowest = new_score
    if not full:
        lowest = LOWEST
    count = 0
    for place in range(num_old):
        count, lowest = _extend(search, trie, dictionary, place, kept, min_cutoff, lowest, count, buffer)
    _choose(search, num_old, count)
    alive = count > 0
    for place in range(num_old):
        alive |= search.prefixes[place].chosen
    if not alive:  # the cutoffs left out all that the dictionary allows: as in the clients, nothing follows any more
        for place in range(num_old):
            prefix = search.prefixes[place]
            prefix.score, prefix.blank_score, prefix.label_score = LOWEST, LOWEST, LOWEST
        return
    _advance_beam(search, trie, num_old, count, buffer)


@compiled
def advance(search, trie, dictionary, probs, start):
    """Decode frames from `start` on, as long as the pools have room for one more.

    Args:
        probs: float32 [frames, classes], probabilities.
    Returns:
        the first frame that was not decoded.
    """
    state, width = search.state, search.state[BEAM_WIDTH]
    buffer = np.empty(LONGEST_WORD_BYTES, np.uint8)
    for frame in range(start, len(probs)):
        # A frame makes up to `width` prefixes, and for those and for each kept on a time.
        if state[FREE_NODES] < width or state[FREE_TIMES] < 2 * width:
            return frame
        _one_frame(search, trie, dictionary, probs[frame], buffer)
        state[FRAME] += 1
    return len(probs)


# --- results -----------------------------------------------------------------------------------------------------


@compiled
def final_scores(search, trie, scores):
    """The scores of the prefixes with that of a last word that no space ended; hot words do not count for it."""
    nodes, state = search.nodes, search.state
    buffer = np.empty(LONGEST_WORD_BYTES, np.uint8)
    for place in range(search.state[NUM_PREFIXES]):
        node = search.prefixes[place].node
        scores[place] = search.prefixes[place].score
        label = nodes[node].label
        if not state[HAS_SCORER]:
            continue
        if state[BYTES_MODE]:
            if label == ROOT_LABEL:
                scores[place] = np.float32(scores[place] + np.float32(search.weights[BETA]))
                continue
            if nodes[node].complete:
                continue
        elif label in (ROOT_LABEL, state[SPACE]):
            continue
        _score_node(search, trie, node, buffer)
        word = np.float32(nodes[node].log_prob * search.weights[ALPHA])
        scores[place] = np.float32(scores[place] + np.float32(np.float64(word) + search.weights[BETA]))


@compiled
def trace(search, place, labels, frames):
    """Labels of a prefix and the frames where they begin, as far as they are not settled, from the last to the first.

    Returns:
        how many labels and how many frames were written; NONE where there is no room for them.
    """
    nodes, times, state = search.nodes, search.times, search.state
    num_labels, num_frames = 0, 0
    node, time = search.prefixes[place].node, search.prefixes[place].time
    while node != state[ROOT]:
        if num_labels == len(labels):
            return NONE, NONE
        labels[num_labels] = nodes[node].label
        num_labels += 1
        node = nodes[node].parent
    while time != state[TIME_ROOT]:
        if num_frames == len(frames):
            return NONE, NONE
        frames[num_frames] = times[time].frame
        num_frames += 1
        time = times[time].parent
    return num_labels, num_frames


@compiled
def settle(search, labels, frames):
    """Take off the trees what all prefixes of the beam begin with, so that they stay small however long the audio.

    Of the labels those stay that the language model still needs: the last word, and the context before it.

    Returns:
        how many labels and frames were taken off and written, in their order.
    """
    nodes, times, state = search.nodes, search.times, search.state
    node = state[ROOT]
    while (
        nodes[node].place == NONE
        and nodes[node].first_child != NONE
        and nodes[nodes[node].first_child].next_sibling == NONE
    ):
        node = nodes[node].first_child
    if search.state[HAS_SCORER] and node != state[ROOT]:
        node = nodes[node].context
    depth, at = 0, node
    while at != state[ROOT] and at != NONE:
        depth += 1
        at = nodes[at].parent
    num_labels = min(depth, len(labels)) if at != NONE else 0
    for _ in range(depth - num_labels):
        node = nodes[node].parent
    at = node
    for place in range(num_labels - 1, -1, -1):
        labels[place] = nodes[at].label
        above = nodes[at].parent
        if at != node:
            _free_node(nodes, state, at)
        at = above
    if num_labels:
        _free_node(nodes, state, state[ROOT])
        state[ROOT] = node
        nodes[node].parent = NONE
    num_frames = 0
    time = state[TIME_ROOT]
    while times[time].users == 0 and times[time].children == 1 and num_frames < len(frames):
        child = times[time].children_xor
        _free_time(times, state, time)
        time = child
        frames[num_frames] = times[time].frame
        num_frames += 1
    state[TIME_ROOT] = time
    times[time].parent = NONE
    return num_labels, num_frames


@compiled
def agreed(search):
    """How many labels that are not settled all prefixes of the beam begin with."""
    nodes, depth = search.nodes, 0
    node = search.state[ROOT]
    while (
        nodes[node].place == NONE
        and nodes[node].first_child != NONE
        and nodes[nodes[node].first_child].next_sibling == NONE
    ):
        node = nodes[node].first_child
        depth += 1
    return depth


@compiled
def commit(search, latest):
    """Drop the prefixes that differ from the best one in its words up to a frame; without spaces, in its labels.

    Args:
        latest: the last frame whose words are decided.
    """
    nodes, times, state, prefixes = search.nodes, search.times, search.state, search.prefixes
    num_old, best = state[NUM_PREFIXES], 0
    for place in range(1, num_old):
        if prefixes[place].score > prefixes[best].score:
            best = place
    node, time = prefixes[best].node, prefixes[best].time
    while node != state[ROOT] and (
        times[time].frame > latest or (state[SPACE] >= 0 and nodes[node].label != state[SPACE])
    ):
        node = nodes[node].parent
        if time != state[TIME_ROOT]:
            time = times[time].parent
    if node == state[ROOT]:
        return
    kept = 0
    for place in range(num_old):
        at = prefixes[place].node
        while at != node and at != state[ROOT]:
            at = nodes[at].parent
        prefixes[place].chosen = at == node
        if not prefixes[place].chosen:
            _release_time(search, prefixes[place].time)
            nodes[prefixes[place].node].place = NONE
    for place in range(num_old):
        if not prefixes[place].chosen:
            _drop_node(search, prefixes[place].node)
    for place in range(num_old):
        old, prefix = prefixes[place], prefixes[kept]
        if old.chosen:
            prefix.node, prefix.time, prefix.score = old.node, old.time, old.score
            prefix.blank_score, prefix.label_score = old.blank_score, old.label_score
            nodes[prefix.node].place = kept
            kept += 1
    state[NUM_PREFIXES] = kept


@compiled
def begin_sentence(search, trie):
    """Give the root the context of a sentence's begin."""
    sentence = trie.sizes[SIZES_SENTENCE]
    search.contexts[0, 0].word = sentence
    search.contexts[0, 0].backoff = _float(trie.data, trie.sizes[SIZES_UNIGRAMS] + 128 * sentence + 32)
    search.nodes[0].context_length = 1
