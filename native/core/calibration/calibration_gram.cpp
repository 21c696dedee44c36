#include "calibration/calibration_gram.h"

#include "naming.h"

namespace vertexq {

namespace {

void addTo(Matrix& sum, const Matrix& other) {
  if (sum.cols() == 0) {
    sum = other;
    return;
  }
  const std::size_t count = sum.rows() * sum.cols();
  for (std::size_t i = 0; i < count; ++i) sum.data()[i] += other.data()[i];
}

}  // namespace

void GramData::add(const GramData& other) {
  addTo(h, other.h);
  addTo(cross, other.cross);
  addTo(target, other.target);
}

CalibrationGram::CalibrationGram(std::size_t inFeatures, bool paired)
    : seen_(inFeatures, GramPrecision::Fast, paired),
      meant_(paired ? std::make_unique<GramAccumulator>(inFeatures, GramPrecision::Fast) : nullptr) {}

template <typename Real>
void CalibrationGram::add(const Real* seen, const Real* meant, std::size_t count, unsigned threads,
                          JobControl& control) {
  if (!paired()) return seen_.add(seen, count, threads, control);
  // It checks both kinds of rows before it adds any: then the other cannot fail on them.
  seen_.add(seen, meant, count, threads, control);
  meant_->add(meant, count, threads, control);
}

void CalibrationGram::add(const RowSource& seen, const RowSource* meant, unsigned threads, JobControl& control) {
  if (!paired()) return seen_.add(seen, threads, control);
  seen_.add(seen, *meant, threads, control);
  meant_->add(*meant, threads, control);
}

template void CalibrationGram::add(const float*, const float*, std::size_t, unsigned, JobControl&);
template void CalibrationGram::add(const double*, const double*, std::size_t, unsigned, JobControl&);

GramData CalibrationGram::data(unsigned threads) const {
  GramData data;
  data.h = seen_.gram(threads);
  if (paired()) {
    data.cross = seen_.crossGram(threads);
    data.target = naming([] { return "target activations"; }, [&] { return meant_->gram(threads); });
  }
  return data;
}

}  // namespace vertexq
