// Calibration data as JavaScript holds it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "arguments.h"
#include "calibration/calibration_gram.h"
#include "calibration/calibration_rows.h"
#include "calibration/given_gram.h"
#include "calibration/kind.h"

namespace vertexq::addon {

/** Data shared by the JavaScript object and the jobs that add to it or read it, one at a time. */
class SharedData {
 public:
  SharedData(std::size_t inFeatures, RowsKind kind);

  /** `target` is null but for pairs. */
  void add(const HeldFloats& batch, const HeldFloats* target, unsigned threads, JobControl& control);
  void add(const RowSource& rows, const RowSource* target, unsigned threads, JobControl& control);
  /** `cross` is null but for pairs; then XᵀX is not known. */
  void setGram(const double* gram, const double* cross, unsigned threads, JobControl& control);
  /** Adds the sums of other rows, one element after the other: in one order of calls they come out as the same numbers. Only where no rows are added. */
  void addSums(const GramData& sums, std::size_t samples, std::size_t offered);
  std::size_t samples() const { return samples_; }
  /** Rows that there were: more than samples where not all patches were taken. */
  std::size_t offered() const { return offered_; }
  void offer(std::size_t rows) { offered_ += rows; }
  std::size_t inFeatures() const { return inFeatures_; }
  RowsKind kind() const { return kind_; }

  /** R, kept until more rows come. Only of rows. A Gram matrix that was given is factored on so many threads. */
  std::shared_ptr<const Matrix> factor(unsigned threads, const JobControl& control);
  /** Kept until more rows come. Not of rows. */
  std::shared_ptr<const GramData> grams(unsigned threads);

 private:
  void prepare();
  void countSamples();

  std::size_t inFeatures_;
  RowsKind kind_;
  std::mutex mutex_;
  std::atomic<std::size_t> offered_{0};
  std::atomic<std::size_t> samples_{0};  // told without waiting for a job that adds
  std::unique_ptr<CalibrationRows> rows_;
  std::unique_ptr<CalibrationGram> sums_;
  std::shared_ptr<const GivenGram> given_;
  std::shared_ptr<GramData> summed_;  // of others' rows
  std::shared_ptr<const Matrix> factor_;
  std::shared_ptr<const GramData> grams_;
};

/**
 * JavaScript class LayerRows:
 *   new LayerRows(inFeatures, kind[, groups[, threads]])  kind: 'rows', 'gram' or 'pairs'; groups: of a convolution, default 1; threads that
 *                                      sum rows and look at Gram matrices, default 1
 *   add(rows[, targets[, weights]])    a job: adds samples, Float32Array or Float64Array, row-major samples × inFeatures;
 *                                      pairs need both, of one type and length; weights, a Float32Array: how often each row counts
 *   addPatches({ values, targets?, weights?, shape, kernel, strides, dilations, pads, most? })  a job: adds the patches of a tensor,
 *                                      Float32Array of the shape [batch, channels, spatial…], to every group; where they are twice
 *                                      `most` and more, about so many of them, spread over all; weights: of each output position
 *   group(index)                       the LayerRows of one group
 *   setGram(gram[, cross])             a job: takes X̃ᵀX̃ (and for pairs X̃ᵀX) instead, Float64Array inFeatures × inFeatures
 *   sums()                             a job: { gram, cross, target }, Float64Arrays of X̃ᵀX̃ and for pairs X̃ᵀX and XᵀX, else null; not of rows
 *   addSums({ gram, cross?, target?, samples, offered })  a job: adds what sums() of another gave; not where rows are added
 *   samples                            rows added so far
 *   offered                            patches there were so far
 */
class LayerRows : public Napi::ObjectWrap<LayerRows> {
 public:
  static Napi::Function define(Napi::Env env);

  /** Marks the objects of this class. */
  static constexpr napi_type_tag kTag{0x76e2b1d0c85f4a39, 0x9d0f6c3a14be2785};

  explicit LayerRows(const Napi::CallbackInfo& info);
  /** Of the only group. */
  std::shared_ptr<SharedData> data() const { return groups_.front(); }

 private:
  /** `Method` as JavaScript calls it. */
  template <Napi::Value (LayerRows::*Method)(const Napi::CallbackInfo&)>
  Napi::Value guarded(const Napi::CallbackInfo& info);

  void initialize(const Napi::CallbackInfo& info);
  Napi::Value add(const Napi::CallbackInfo& info);
  Napi::Value addPatches(const Napi::CallbackInfo& info);
  Napi::Value group(const Napi::CallbackInfo& info);
  Napi::Value setGram(const Napi::CallbackInfo& info);
  Napi::Value sums(const Napi::CallbackInfo& info);
  Napi::Value addSums(const Napi::CallbackInfo& info);
  Napi::Value samples(const Napi::CallbackInfo& info);
  Napi::Value offered(const Napi::CallbackInfo& info);

  std::vector<std::shared_ptr<SharedData>> groups_;
  unsigned threads_ = 1;
};

}  // namespace vertexq::addon
