# The second way to build the addon, for those who have node-gyp but no CMake. See CMakeLists.txt for the reasons.
{
  'targets': [
    {
      'target_name': 'vertexq',
      'sources': [
        '<!@(node -p "fs.readdirSync(\'native\', { recursive: true }).filter(f => /^(core|addon).*[.]cpp$/.test(f)).map(f => \'native/\' + f.split(path.sep).join(\'/\')).join(\' \')")',
      ],
      'include_dirs': [
        'native',
        'native/core',
        '<!(node -p "require(\'node-addon-api\').include_dir")',
        '<!@(node scripts/blas-flags.cjs include)',
      ],
      'libraries': ['<!@(node scripts/blas-flags.cjs libs)'],
      'defines': [
        'NODE_ADDON_API_CPP_EXCEPTIONS',
        'NODE_ADDON_API_CPP_EXCEPTIONS_ALL',
        'NODE_ADDON_API_DISABLE_DEPRECATED',
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
        'NAPI_VERSION=8',
      ],
      'cflags!': ['-O2'],
      'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++20', '-std=gnu++17'],
      'cflags_cc': ['-std=c++17', '-O3', '-fvisibility=hidden', '-fvisibility-inlines-hidden'],
      'conditions': [
        ['OS=="linux"', { 'ldflags': ['-pthread', '-Wl,-z,nodelete'] }],
        ['OS=="mac"', {
          'xcode_settings': {
            'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
            'CLANG_CXX_LIBRARY': 'libc++',
            'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
            'GCC_ENABLE_CPP_RTTI': 'YES',
            'GCC_OPTIMIZATION_LEVEL': '3',
            'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
            'MACOSX_DEPLOYMENT_TARGET': '11.0',
          },
        }],
        ['OS=="win"', {
          'defines': ['NOMINMAX', '_USE_MATH_DEFINES', '_HAS_EXCEPTIONS=1'],
          'msvs_settings': {
            'VCCLCompilerTool': { 'ExceptionHandling': 1, 'AdditionalOptions': ['/std:c++17', '/utf-8'] },
          },
        }],
      ],
    },
  ],
}
