/**
 * The one call of Kubernetes' CRI that tests need: how a kubelet pulls an image
 * (k8s.io/cri-api/pkg/apis/runtime/v1/api.proto).
 *
 * @module
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";

const pullImage = "/runtime.v1.ImageService/PullImage";
/** `PullImageRequest.image` and `ImageSpec.image`, `PullImageResponse.image_ref`. */
const firstField = 1;
/** The kubelet waits longer; no test does. */
const timeoutMs = 120_000;

function encodeRequest(reference: string): Buffer {
  const spec = new BinaryWriter()
    .tag(firstField, WireType.LengthDelimited)
    .string(reference)
    .finish();
  return Buffer.from(
    new BinaryWriter().tag(firstField, WireType.LengthDelimited).bytes(spec).finish(),
  );
}

function decodeResponse(bytes: Buffer): string {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === firstField) return reader.string();
    reader.skip(type);
  }
  return "";
}

/**
 * Pulls an image as a kubelet does, into the namespace `k8s.io`; resolves with its ID.
 *
 * @param socket of containerd
 */
export async function pullByCri(socket: string, reference: string): Promise<string> {
  const client = new Client(`unix:${socket}`, credentials.createInsecure());
  try {
    return await new Promise<string>((resolve, reject) => {
      const answer = (error: ServiceError | null, id?: string): void => {
        if (error === null) resolve(id ?? "");
        else reject(error);
      };
      const options = { deadline: Date.now() + timeoutMs };
      client.makeUnaryRequest(pullImage, encodeRequest, decodeResponse, reference, options, answer);
    });
  } finally {
    client.close();
  }
}
