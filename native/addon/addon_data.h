// What each JavaScript environment keeps of the addon.
#pragma once

#include <napi.h>

namespace vertexq::addon {

struct AddonData {
  Napi::FunctionReference calibration;
};

}  // namespace vertexq::addon
