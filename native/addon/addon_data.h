// What each JavaScript environment keeps of the addon.
#pragma once

#include <napi.h>

namespace vertexq::addon {

struct AddonData {
  Napi::FunctionReference calibration;
  /** The getter of ArrayBuffer.prototype.resizable as it was when the addon was loaded; empty where Node has none. */
  Napi::FunctionReference isResizable;
};

}  // namespace vertexq::addon
