// Which alphabets a job's weights get.
#pragma once

#include "arguments.h"
#include "layer.h"

namespace vertexq::addon {

/**
 * `grid` and `levels`: all but the size of the groups. Throws a TypeError at a grid that has no alphabet of so many levels. `table`: where
 * a table's levels are kept, which must outlive the job; null for jobs whose results have integers and zero points alone.
 */
inline AlphabetOptions alphabetArguments(const Napi::CallbackInfo& info, const Arguments& given, LevelTable* table) {
  AlphabetOptions alphabet;
  std::vector<std::pair<const char*, Grid>> grids{{"integer", Grid::Integer},
                                                  {"asymmetric", Grid::Asymmetric},
                                                  {"zero-free", Grid::ZeroFree},
                                                  {"full-range", Grid::FullRange}};
  if (table) grids.insert(grids.end(), {{"float-minimum", Grid::Minimum}, {"table", Grid::Table}});
  alphabet.grid = given.choice<Grid>("grid", grids);
  if (alphabet.grid == Grid::Table) {
    *table = given.floats("table");
    alphabet.table = table;
  }
  alphabet.levels = static_cast<int>(given.integer("levels", 2, 256));
  if (!hasAlphabet(alphabet.kind()))
    throw Napi::TypeError::New(info.Env(), "This grid has no alphabet of that many levels");
  return alphabet;
}

inline ScalePrecision precisionOf(const Arguments& given, const char* name) {
  return given.choice<ScalePrecision>(name, {{"F64", ScalePrecision::Float64},
                                             {"F32", ScalePrecision::Float32},
                                             {"F16", ScalePrecision::Float16},
                                             {"BF16", ScalePrecision::BFloat16}});
}

}  // namespace vertexq::addon
