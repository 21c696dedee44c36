#include "packing/ggml_types.h"

#include <cstring>

namespace vertexq {

const LevelTable& ggmlTable() {
  static const LevelTable table{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  return table;
}

AlphabetOptions GgmlType::alphabet() const {
  static const LevelTable mirrored = [] {
    LevelTable table(ggmlTable().rbegin(), ggmlTable().rend());
    for (float& level : table) level = -level;
    return table;
  }();
  AlphabetOptions options{grid, levels, group, ScalePrecision::Float16, nullptr, factors};
  // An end of 256 levels is hardly further from 0 than the other.
  options.eitherSign = grid != Grid::Minimum && levels < 256;
  options.isBlock = true;
  if (grid == Grid::Table) {
    options.table = &ggmlTable();
    options.mirrored = &mirrored;
  }
  return options;
}

const std::vector<GgmlType>& ggmlTypes() {
  static const std::vector<GgmlType> types{
      {"Q4_0", 32, 18, 32, Grid::FullRange, 16, {}},
      {"Q4_1", 32, 20, 32, Grid::Minimum, 16, {}},
      {"Q5_0", 32, 22, 32, Grid::FullRange, 32, {}},
      {"Q5_1", 32, 24, 32, Grid::Minimum, 32, {}},
      {"Q8_0", 32, 34, 32, Grid::FullRange, 256, {}},
      {"Q2_K", 256, 84, 16, Grid::Minimum, 4, {16, 0, 15, 15}},
      {"Q3_K", 256, 110, 16, Grid::FullRange, 8, {16, -32, 31, 0}},
      {"Q4_K", 256, 144, 32, Grid::Minimum, 16, {8, 0, 63, 63}},
      {"Q5_K", 256, 176, 32, Grid::Minimum, 32, {8, 0, 63, 63}},
      {"Q6_K", 256, 210, 16, Grid::FullRange, 64, {16, -128, 127, 0}},
      {"IQ4_NL", 32, 18, 32, Grid::Table, 16, {}},
      {"IQ4_XS", 256, 136, 32, Grid::Table, 16, {8, -32, 31, 0}},
  };
  return types;
}

const GgmlType* ggmlType(const char* name) {
  for (const GgmlType& type : ggmlTypes())
    if (std::strcmp(type.name, name) == 0) return &type;
  return nullptr;
}

}  // namespace vertexq
