/** Of the plots of errors, by experiment. */
export const titles = {
  gaussian: '32 Gaussian samples',
  'mnist-rows': '32 MNIST images, resampled to N pixels',
} as const;
