#include "packing/row_rounding.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"
#include "linalg/simd.h"
#include "tensors/permute.h"

namespace vertexq {

namespace {

/** Levels up to this are finite in every precision, and as float32 numbers no denormal ones from steps of at least kSafeStep. */
constexpr double kSafeLevel = 0x1p15, kSafeStep = 0x1p-100;

ScalePrecision precisionOf(const PackedRows& to) {
  if (to.order == PackedOrder::Values) return ScalePrecision::Float32;
  switch (to.type) {
    case NumberType::Float16:
      return ScalePrecision::Float16;
    case NumberType::BFloat16:
      return ScalePrecision::BFloat16;
    default:
      return ScalePrecision::Float32;
  }
}

[[noreturn]] void refuse(NumberType type, const std::vector<float>& w, std::size_t neuron) {
  const char* infinite = type == NumberType::Float64 ? " is infinite, or too large for float32" : " is infinite";
  const auto bad = std::find_if(w.begin(), w.end(), [](float v) { return !std::isfinite(v); });
  throw Error("ERR_VERTEXQ_NOT_FINITE", "weight of neuron " + std::to_string(neuron) + ", input " +
                                            std::to_string(bad - w.begin()) +
                                            (std::isnan(*bad) ? " is NaN" : infinite));
}

/** Of weights that have all become 0 the error is all of them, but for what sums are accurate to: only then codes are looked at. */
bool mayBeZeroed(double error, double signal) { return error >= 0.999 * signal && signal > 0; }

bool areZero(const std::int8_t* codes, std::size_t count, const Alphabet& alphabet, ScalePrecision values) {
  return std::all_of(codes, codes + count, [&](int code) { return storedLevel(alphabet.level(code), values) == 0; });
}

}  // namespace

RowRounding::RowRounding(const RawRows& weights, const AlphabetOptions& alphabet, ScaleRule rule, const PackedRows& to)
    : weights_(weights),
      to_(to),
      kind_(alphabet.kind()),
      groupSize_(alphabet.groupSize),
      precision_(precisionOf(to)),
      rounding_(kind_, rule, precision_) {}

const unsigned char* RowRounding::numbers(std::size_t row, std::size_t col) const {
  const std::size_t index = weights_.stride == 0 ? row * weights_.cols + col : col * weights_.stride + row;
  return weights_.data + index * bytesOf(weights_.type);
}

RoundedRows RowRounding::run(std::size_t first, std::size_t count, RowSums* sums) {
  const std::size_t cols = weights_.cols;
  if (to_.order == PackedOrder::Codes) {
    codes_ = reinterpret_cast<std::int8_t*>(to_.codes + first * to_.pitch(cols));
  } else {
    ownCodes_.resize(count * cols);
    codes_ = ownCodes_.data();
  }
  scales_.resize(count * groups());
  zeroPoints_.resize(count * groups());
  if (!runLanes(first, count, sums)) {
    gather(first, count);
    for (std::size_t i = 0; i < count; ++i) roundPlainly(first + i, i, sums[i] = {});
  }
  return {codes_, scales_.data(), zeroPoints_.data()};
}

/** false where there are no lanes, or something is wrong with a row. */
bool RowRounding::runLanes(std::size_t first, std::size_t count, RowSums* sums) {
  if (!rounding_.hasLanes(std::min(groupSize_, weights_.cols))) return false;
  try {
    if (weights_.stride == 0) {
      for (std::size_t i = 0; i < count; ++i)
        if (!roundRow(first + i, i, sums)) return false;
      const std::size_t last = weights_.cols / groupSize_;
      const Span rest{last, last * groupSize_, weights_.cols % groupSize_};
      return rest.count == 0 || roundColumns(first, count, rest, sums);
    }
    for (std::size_t g = 0, at = 0; at < weights_.cols; ++g, at += groupSize_)
      if (!roundColumns(first, count, {g, at, std::min(groupSize_, weights_.cols - at)}, sums)) return false;
    return true;
  } catch (const Error&) {
    return false;
  }
}

/** A group of each row, which are widened as they lie: down columns, or one by one. */
bool RowRounding::roundColumns(std::size_t first, std::size_t count, const Span& span, RowSums* sums) {
  const std::size_t size = bytesOf(weights_.type);
  const std::size_t room = (count + kGroupLanes - 1) / kGroupLanes * kGroupLanes;
  wide_.resize(room * span.count);
  if (weights_.stride == 0) {
    // Without a stride few columns are left over.
    gathered_.resize(count * span.count);
    for (std::size_t i = 0; i < count; ++i)
      if (!widen(weights_.type, numbers(first + i, span.first), span.count, &gathered_[i * span.count])) return false;
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t k = 0; k < span.count; ++k) wide_[k * room + i] = gathered_[i * span.count + k];
  } else {
    const unsigned char* from = numbers(first, span.first);
    for (std::size_t k = 0; k < span.count; ++k, from += weights_.stride * size)
      if (!widen(weights_.type, from, count, &wide_[k * room])) return false;
  }
  for (std::size_t k = 0; k < span.count; ++k)
    std::fill(&wide_[k * room] + count, &wide_[k * room] + room, wide_[k * room]);
  for (std::size_t i = 0; i < count; i += kGroupLanes) {
    fetchAhead(first, count, span, i);
    const LaneWeights some{&wide_[i], room, span.count};
    const std::size_t lanes = std::min(kGroupLanes, count - i);
    rounding_.roundLanes(some, lanes, lanes_);
    for (std::size_t lane = 0; lane < lanes; ++lane) take(first + i + lane, i + lane, span, lane, some, sums[i + lane]);
  }
  return true;
}

/** Down columns each row of a group is elsewhere in memory: a part of those of the next one while the neurons from `done` on are rounded. */
void RowRounding::fetchAhead(std::size_t first, std::size_t count, const Span& span, std::size_t done) const {
  const std::size_t next = span.first + span.count, size = bytesOf(weights_.type);
  if (weights_.stride == 0 || next >= weights_.cols) return;
  const std::size_t some = std::min(groupSize_, weights_.cols - next);
  const std::size_t end = std::min(some, (done + kGroupLanes) * some / count);
  for (std::size_t k = done * some / count; k < end; ++k) {
    const unsigned char* from = numbers(first, next + k);
    for (std::size_t at = 0; at < count * size; at += 64) VERTEXQ_FETCH(from + at);
  }
}

/** The whole groups of a row, which lie one behind the other. */
bool RowRounding::roundRow(std::size_t row, std::size_t at, RowSums* sums) {
  const std::size_t whole = weights_.cols / groupSize_;
  for (std::size_t g = 0; g < whole; g += kGroupLanes) {
    const std::size_t lanes = std::min(kGroupLanes, whole - g);
    wide_.resize(lanes * groupSize_);
    if (!widen(weights_.type, numbers(row, g * groupSize_), lanes * groupSize_, wide_.data())) return false;
    rounding_.roundLanes(wide_.data(), lanes, groupSize_, lanes_);
    for (std::size_t lane = 0; lane < lanes; ++lane)
      take(row, at, {g + lane, (g + lane) * groupSize_, groupSize_}, lane,
           {&wide_[lane * groupSize_] - lane, 1, groupSize_}, sums[at]);
  }
  return true;
}

/** What a lane became, as the group of a row: weight i of it at from.first[i·from.stride + lane]. */
void RowRounding::take(std::size_t row, std::size_t at, const Span& span, std::size_t lane, const LaneWeights& from,
                       RowSums& sums) {
  std::int8_t* codes = codes_ + at * to_.pitch(weights_.cols) + span.first;
  std::copy_n(lanes_.codes + lane * span.count, span.count, codes);
  const float step = lanes_.steps[lane], zero = lanes_.zeroPoints[lane];
  scales_[at * groups() + span.group] = step;
  zeroPoints_[at * groups() + span.group] = zero;
  Changed changed{lanes_.errors[lane], lanes_.signals[lane], static_cast<std::size_t>(lanes_.offAlphabet[lane])};
  if (to_.order == PackedOrder::Codes &&
      !(to_.values == ScalePrecision::Float64 && step >= kSafeStep && step * kind_.levels <= kSafeLevel)) {
    gathered_.resize(span.count);
    for (std::size_t i = 0; i < span.count; ++i) gathered_[i] = from.first[i * from.stride + lane];
    changed = changeOf(gathered_.data(), codes, span.count, Alphabet::withStep(kind_, step, zero), to_.firstRow + row);
  }
  sums.error += changed.error;
  sums.signal += changed.signal;
  sums.offAlphabet += changed.count;
  sums.hasZeroPoints = sums.hasZeroPoints || zero != 0;
  if (mayBeZeroed(changed.error, changed.signal) &&
      areZero(codes, span.count, Alphabet::withStep(kind_, step, zero), to_.values))
    ++sums.zeroedGroups;
}

/** Rows that lie down columns, one behind the other. */
void RowRounding::gather(std::size_t first, std::size_t count) {
  if (weights_.stride == 0) return;
  const std::size_t size = bytesOf(weights_.type), cols = weights_.cols;
  turned_.resize(count * cols * size);
  transposeBlock(size, numbers(first, 0), weights_.stride, cols, count, turned_.data(), cols);
}

/** Group by group, as far as the first one that is wrong. */
void RowRounding::roundPlainly(std::size_t row, std::size_t at, RowSums& sums) {
  const std::size_t cols = weights_.cols, neuron = to_.firstRow + row, size = bytesOf(weights_.type);
  wide_.resize(cols);
  const unsigned char* from = weights_.stride == 0 ? numbers(row, 0) : turned_.data() + at * cols * size;
  if (!widen(weights_.type, from, cols, wide_.data())) refuse(weights_.type, wide_, neuron);
  for (std::size_t g = 0, first = 0; first < cols; ++g, first += groupSize_) {
    const std::size_t count = std::min(groupSize_, cols - first);
    std::int8_t* codes = codes_ + at * to_.pitch(cols) + first;
    RoundedGroup group;
    namingNeuron(neuron, [&] { group = rounding_.round(wide_.data() + first, count, codes); });
    scales_[at * groups() + g] = static_cast<float>(group.alphabet.step());
    zeroPoints_[at * groups() + g] = static_cast<float>(group.alphabet.zeroPoint());
    if (to_.order == PackedOrder::Codes) {
      const Changed changed = changeOf(wide_.data() + first, codes, count, group.alphabet, neuron);
      group.error = changed.error;
      group.signal = changed.signal;
      sums.offAlphabet += changed.count;
      sums.hasZeroPoints = sums.hasZeroPoints || group.alphabet.zeroPoint() != 0;
    }
    sums.error += group.error;
    sums.signal += group.signal;
    if (mayBeZeroed(group.error, group.signal) && areZero(codes, count, group.alphabet, to_.values))
      ++sums.zeroedGroups;
  }
}

/** What rounding changed of a group, as it will be stored. Throws where a weight or a level would be infinite. */
Changed RowRounding::changeOf(const float* w, const std::int8_t* codes, std::size_t count, const Alphabet& alphabet,
                              std::size_t neuron) const {
  if (to_.values == ScalePrecision::Float64 && alphabet.step() >= kSafeStep &&
      std::max(-alphabet.lowest(), alphabet.highest()) <= kSafeLevel)
    return roundingKernels().changed(w, codes, count, alphabet.zeroPoint(), alphabet.step());
  if (!std::isfinite(alphabet.step()) || !alphabet.heldIn(precision_)) refuseInfinite(neuron);
  Changed changed{0, 0, 0};
  for (std::size_t i = 0; i < count; ++i) {
    const double level = alphabet.level(codes[i]), value = storedLevel(level, to_.values);
    if (!std::isfinite(value)) refuseInfinite(neuron);
    changed.error += (w[i] - value) * (w[i] - value);
    changed.signal += double{w[i]} * w[i];
    changed.count += level == w[i] ? 0 : 1;
  }
  return changed;
}

}  // namespace vertexq
