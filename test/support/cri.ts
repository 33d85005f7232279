/**
 * The one call of Kubernetes' CRI that tests need: how a kubelet pulls an image
 * (k8s.io/cri-api/pkg/apis/runtime/v1/api.proto).
 *
 * @module
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { waitUntil } from "../../scripts/lib/process.ts";

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

/** containerd answers on its socket before its CRI plugin has started; a kubelet asks again. */
const notStarted = /server is not initialized yet/;

function callPullImage(client: Client, reference: string): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    const answer = (error: ServiceError | null, id?: string): void => {
      if (error === null) resolve(id ?? "");
      else reject(error);
    };
    const options = { deadline: Date.now() + timeoutMs };
    client.makeUnaryRequest(pullImage, encodeRequest, decodeResponse, reference, options, answer);
  });
}

/**
 * Pulls an image as a kubelet does, into the namespace `k8s.io`; resolves with its ID.
 *
 * @param socket of containerd
 */
export async function pullByCri(socket: string, reference: string): Promise<string> {
  const client = new Client(`unix:${socket}`, credentials.createInsecure());
  let id: string | undefined;
  const hasPulled = async (): Promise<boolean> => {
    try {
      id = await callPullImage(client, reference);
    } catch (error) {
      if (!notStarted.test(String(error))) throw error;
    }
    return id !== undefined;
  };
  try {
    await waitUntil(hasPulled, "containerd's CRI plugin has not started");
  } finally {
    client.close();
  }
  return id ?? "";
}
