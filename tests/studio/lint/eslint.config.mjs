import js from "@eslint/js";

export default [
  js.configs.recommended,
  { rules: { "no-undef": "off" } }, // the type checker knows which names a browser has
];
