/** Calls of the admin API of the daemon that runs on the configured root. */
import { existsSync, readFileSync } from "node:fs";
import { loadConfig } from "../config/load.ts";
import { AppError, describeError } from "../errors.ts";
import { storePaths } from "../store/paths.ts";

/** Throws `unavailable` where no daemon answers, or not as it should. */
export async function callApi<Answer>(
  method: "GET" | "POST" | "DELETE",
  path: string,
): Promise<Answer> {
  const { apiAddress, root } = storePaths(loadConfig(process.env).root);
  const remedy = "start the daemon, or set ROOT or CONFIG as the daemon has them";
  if (!existsSync(apiAddress)) {
    throw new AppError("unavailable", `No admin API is running on root "${root}"`, { remedy });
  }
  const url = `http://${readFileSync(apiAddress, "utf8").trim()}${path}`;
  let response: Response;
  try {
    response = await fetch(url, { method });
  } catch (error) {
    throw new AppError("unavailable", `Cannot reach "${url}": ${describeError(error)}`, { remedy });
  }
  if (!response.ok) {
    throw new AppError("unavailable", `"${url}" answered ${response.status}`, { remedy });
  }
  return (await response.json()) as Answer;
}
