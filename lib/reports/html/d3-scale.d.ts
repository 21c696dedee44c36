// What is used of d3-scale, whose types are a package of their own.

declare module 'd3-scale' {
  interface Scale {
    (value: number): number;
    domain(values: readonly [number, number]): this;
    range(values: readonly [number, number]): this;
    nice(count?: number): this;
    clamp(on: boolean): this;
    ticks(count?: number): number[];
  }
  export function scaleLinear(): Scale;
  export function scaleLog(): Scale;
}
