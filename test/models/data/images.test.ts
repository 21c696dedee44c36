import test from 'ava';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import type { VertexqErrorCode } from '../../../lib/error-codes';
import type { VertexqError } from '../../../lib/errors';
import { type ModelInput, prepareCalibrationSet } from '../../../lib/models/calibration-set';
import type { ImageOptions } from '../../../lib/models/types';
import { temporaryFolder } from '../../files/temporary-folder';

const input = (dims: ModelInput['dims'], type = 'float32'): ModelInput[] => [{ name: 'pixels', type, dims }];

/** A picture of two rows: red, green, blue; black, white, grey. */
const pixels = Buffer.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 51, 51, 51]);
const picture = (width = 3, height = 2, data = pixels) =>
  sharp(data, { raw: { width, height, channels: 3 } });

async function read(path: string | string[], inputs: ModelInput[], image?: ImageOptions) {
  const { fit } = await prepareCalibrationSet(path, { inputs, image, holdout: 0 });
  return fit.map(({ pixels: tensor }) => tensor!);
}

const close = (t: { deepEqual(a: unknown, b: unknown): unknown }, got: unknown, wanted: number[]) =>
  t.deepEqual(
    Array.from(got as Float32Array, (value) => Math.round(1e4 * value) / 1e4),
    wanted,
  );

test('pixels by hand, in every layout and order', async (t) => {
  const path = join(temporaryFolder(t), 'a.png');
  await picture().png().toFile(path);
  const [plain] = await read(path, input(['n', 3, null, null]));
  t.deepEqual([plain!.dims, plain!.type], [[1, 3, 2, 3], 'float32']);
  close(t, plain!.data, [1, 0, 0, 0, 1, 0.2, 0, 1, 0, 0, 1, 0.2, 0, 0, 1, 0, 1, 0.2]);
  const [bgr] = await read(path, input([1, 3, 2, 3]), { order: 'bgr', mean: 0.5, std: 0.5 });
  close(t, bgr!.data, [-1, -1, 1, -1, 1, -0.6, -1, 1, -1, -1, 1, -0.6, 1, -1, -1, -1, 1, -0.6]);
  const [last] = await read(path, input(['n', null, null, 3]), { mean: [0, 0, 1], std: [1, 2, 1] });
  t.deepEqual(last!.dims, [1, 2, 3, 3]);
  close(t, last!.data, [1, 0, -1, 0, 0.5, -1, 0, 0, 0, 0, 0, -1, 1, 0.5, 0, 0.2, 0.1, -0.8]);
  const [bytes] = await read(path, input(['n', null, null, 3], 'uint8'));
  t.deepEqual(bytes!.data, Uint8Array.from(pixels));
  const [told] = await read(path, input(null), { layout: 'nhwc', scale: 1 });
  t.deepEqual(told!.data, Float32Array.from(pixels));
  const [half] = await read(path, input(['n', 3, null, null], 'float16'));
  t.deepEqual([half!.type, (half!.data as Uint16Array)[0]], ['float16', 0x3c00]);
  const [grey] = await read(path, input(['n', 1, null, null]), { scale: 1 });
  t.deepEqual(grey!.dims, [1, 1, 2, 3]);
  t.deepEqual([...(grey!.data as Float32Array)].slice(3), [0, 255, 51]);
});

test('size: what the network fixes, what is told, or the images’ own, equal ones together', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'sub'));
  const save = (name: string, width: number, height: number) =>
    picture(
      width,
      height,
      Buffer.from(Array.from({ length: width * height * 3 }, (_, i) => (i * 37) % 256)),
    ).toFile(join(folder, name));
  await save('b.png', 8, 6);
  await save('a.jpg', 12, 6);
  await save('sub/c.webp', 8, 6);
  writeFileSync(join(folder, 'notes.md'), 'no image');
  const dims = async (inputs: ModelInput[], image?: ImageOptions) =>
    (await read(folder, inputs, image)).map((tensor) => tensor.dims);
  t.deepEqual(await dims(input(['n', 3, null, null])), [[1, 3, 6, 12], [2, 3, 6, 8]]); // prettier-ignore
  t.deepEqual(await dims(input(['n', 3, 4, 5])), [[3, 3, 4, 5]]);
  t.deepEqual(await dims(input(['n', 3, 3, 'width'])), [[1, 3, 3, 6], [2, 3, 3, 4]]); // prettier-ignore
  t.deepEqual(await dims(input(['n', 3, null, null]), { size: [7, 9], fit: 'contain' }), [[3, 3, 7, 9]]);
  const both = await read([join(folder, 'b.png'), join(folder, 'sub')], input(['n', 3, null, null]));
  t.deepEqual(both[0]!.dims, [2, 3, 6, 8]);
});

test('grey images, ones with alpha, turned ones', async (t) => {
  const folder = temporaryFolder(t);
  const grey = join(folder, 'grey.png');
  await sharp(Buffer.from([0, 51, 102, 255]), { raw: { width: 2, height: 2, channels: 1 } })
    .png()
    .toFile(grey);
  const [three] = await read(grey, input(['n', 3, null, null]), { scale: 1 });
  t.deepEqual([...(three!.data as Float32Array)], [0, 51, 102, 255, 0, 51, 102, 255, 0, 51, 102, 255]);
  const alpha = join(folder, 'alpha.png');
  await sharp(Buffer.from([10, 20, 30, 0]), { raw: { width: 1, height: 1, channels: 4 } })
    .png()
    .toFile(alpha);
  const [opaque] = await read(alpha, input(['n', 3, null, null]), { scale: 1 });
  t.deepEqual([...(opaque!.data as Float32Array)], [10, 20, 30]);
  const turned = join(folder, 'turned.jpg');
  await picture().withMetadata({ orientation: 6 }).jpeg().toFile(turned);
  t.deepEqual((await read(turned, input(['n', 3, null, null])))[0]!.dims, [1, 3, 3, 2]);
  const deep = join(folder, 'deep.png');
  await picture().toColourspace('rgb16').png().toFile(deep);
  const [eight] = await read(deep, input(['n', null, null, 3], 'uint8'));
  t.deepEqual(eight!.data, Uint8Array.from(pixels));
});

test('files that are no images, and networks that take none', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'a.png');
  const fits = input(['n', 3, null, null]);
  const refuses = async (message: RegExp, inputs = fits, image?: ImageOptions, code?: VertexqErrorCode) => {
    const error = await t.throwsAsync(read(path, inputs, image), { message });
    if (code) t.is((error as VertexqError).code, code);
  };
  await refuses(/a\.png cannot be read: ENOENT/, fits, {}, 'ERR_VERTEXQ_FILE');
  writeFileSync(path, 'no image');
  await refuses(/a\.png cannot be read as an image/, fits, {}, 'ERR_VERTEXQ_IMAGE');
  writeFileSync(path, '');
  await refuses(/a\.png cannot be read as an image/);
  writeFileSync(path, '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
  await refuses(/a\.png cannot be read as an image: it holds svg, not PNG, JPEG or WebP/);
  const png = await picture().png().toBuffer();
  writeFileSync(path, png.subarray(0, png.length - 20));
  await refuses(/a\.png cannot be read as an image/);
  // A header that asks for 10 gigapixels.
  const huge = Buffer.from(png);
  huge.writeUInt32BE(100_000, 16);
  huge.writeUInt32BE(100_000, 20);
  writeFileSync(path, huge);
  await refuses(/a\.png cannot be read as an image/);
  writeFileSync(path, png);
  await refuses(/Images fill a single input of four dimensions, and the network has the inputs "a", "b"/, ['a', 'b'].map((name) => ({ name, type: 'float32', dims: null }))); // prettier-ignore
  await refuses(/and the network's "pixels" has \[n, 784\]/, input(['n', 784]));
  await refuses(/of floats or uint8, and the network's "pixels" is int64/, input(null, 'int64'));
  await refuses(/with 1 or 3 channels, .* has 4 in the layout "nchw"/, input(['n', 4, 8, 8]));
  await refuses(/"image\.size" option is 4×4, and .* fixes 8×\?: leave it out/, input(['n', 3, 8, null]), {
    size: [4, 4],
  });
  mkdirSync(join(folder, 'empty'));
  await t.throwsAsync(read(join(folder, 'empty'), fits), { message: /empty: is a folder without images/ });
  for (const [image, message] of [
    [{ sise: [1, 1] }, /Unknown image option "sise": did you mean "size"/],
    [{ size: 224 }, /"image\.size" option to be \[height, width\] in pixels, not 224/],
    [{ size: [0, 5] }, /"image\.size" option to be a whole number from 1/],
    [{ mean: [1, 2] }, /"image\.mean" option to be a finite number, or three of them, .* not 2 numbers/],
    [{ mean: [1, 2, '3'] }, /not "3" at 2/],
    [{ std: 0 }, /"image\.std" option to be a number above 0/],
    [{ std: NaN }, /"image\.std" option to be a number above 0, .* not NaN/],
    [{ scale: -1 }, /"image\.scale" option to be a number above 0/],
    [{ order: 'gbr' }, /"image\.order" option to be one of "rgb", "bgr"/],
    [{ layout: 'chw' }, /"image\.layout" option to be one of "nchw", "nhwc".*did you mean "nchw"/],
    [{ fit: 'crop' }, /"image\.fit" option to be one of "cover", "contain", "fill"/],
    [5, /image options to be an object, not 5/],
  ] as [unknown, RegExp][])
    await refuses(message, fits, image as ImageOptions);
});
