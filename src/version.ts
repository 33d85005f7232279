/** Build-time constants, with what development shows instead. */
declare const BUILD_VERSION: string | undefined;

export const version: string = typeof BUILD_VERSION === "string" ? BUILD_VERSION : "development";
