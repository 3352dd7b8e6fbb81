/** Which version this is; a test holds it together with package.json, which is not part of the image's program. */
export const version = "0.1.0";
