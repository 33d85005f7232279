/**
 * Preloaded before every test file: nothing here may touch the machine.
 *
 * @module
 */
process.env["LOG_LEVEL"] ??= "silent";
