// Calibration data as JavaScript holds it.
#pragma once

#include <memory>
#include <mutex>

#include "arguments.h"
#include "calibration/calibration_rows.h"

namespace vertexq::addon {

/** Rows shared by the JavaScript object and the jobs that add to them or read them, one at a time. */
class SharedRows {
 public:
  explicit SharedRows(std::size_t inFeatures) : rows_(inFeatures) {}

  void add(const Floats& batch, const JobControl& control);
  void setGram(const std::vector<double>& gram);
  std::size_t samples();
  std::size_t inFeatures() const { return rows_.inFeatures(); }
  /** R with RᵀR = XᵀX, kept until more rows come. */
  std::shared_ptr<const Matrix> factor();

 private:
  std::mutex mutex_;
  CalibrationRows rows_;
  std::shared_ptr<const Matrix> factor_;
};

/**
 * JavaScript class Calibration:
 *   new Calibration(inFeatures)
 *   add(rows)      a job: adds samples, a Float32Array or Float64Array, row-major samples × inFeatures
 *   setGram(gram)  a job: takes a Gram matrix instead, Float64Array inFeatures × inFeatures
 *   samples        rows added so far
 */
class Calibration : public Napi::ObjectWrap<Calibration> {
 public:
  static Napi::Function define(Napi::Env env);

  explicit Calibration(const Napi::CallbackInfo& info);
  std::shared_ptr<SharedRows> rows() const { return rows_; }

 private:
  Napi::Value add(const Napi::CallbackInfo& info);
  Napi::Value setGram(const Napi::CallbackInfo& info);
  Napi::Value samples(const Napi::CallbackInfo& info);

  std::shared_ptr<SharedRows> rows_;
};

}  // namespace vertexq::addon
