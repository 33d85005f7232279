// The reference library of eStargz (github.com/containerd/stargz-snapshotter/estargz), for tests.
//
//	estargz-peer build TAR BLOB [FILE...]   writes an eStargz of a tar, FILEs first; prints the
//	                                        digest of its table of contents
//	estargz-peer verify BLOB DIGEST         checks the table and each chunk; prints the SHA-256 and
//	                                        the name of each file, and a NUL
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
)

func section(name string) *io.SectionReader {
	file, err := os.Open(name)
	check(err)
	info, err := file.Stat()
	check(err)
	return io.NewSectionReader(file, 0, info.Size())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func build(tar, out string, first []string) {
	blob, err := estargz.Build(section(tar), estargz.WithPrioritizedFiles(first))
	check(err)
	file, err := os.Create(out)
	check(err)
	_, err = io.Copy(file, blob)
	check(err)
	check(blob.Close())
	check(file.Close())
	fmt.Println(blob.TOCDigest())
}

func verify(name, toc string) {
	reader, err := estargz.Open(section(name))
	check(err)
	verifier, err := reader.VerifyTOC(digest.Digest(toc))
	check(err)
	root, ok := reader.Lookup("")
	if !ok {
		check(fmt.Errorf("%s has no root", name))
	}
	walk(reader, verifier, "", root)
}

func walk(reader *estargz.Reader, verifier estargz.TOCEntryVerifier, name string,
	entry *estargz.TOCEntry) {
	if entry.Type == "reg" {
		verifyFile(reader, verifier, name, entry)
	}
	entry.ForeachChild(func(base string, child *estargz.TOCEntry) bool {
		walk(reader, verifier, path.Join(name, base), child)
		return true
	})
}

func verifyFile(reader *estargz.Reader, verifier estargz.TOCEntryVerifier, name string,
	entry *estargz.TOCEntry) {
	file, err := reader.OpenFile(name)
	check(err)
	whole := sha256.New()
	for offset := int64(0); offset < entry.Size; {
		chunk, ok := reader.ChunkEntryForOffset(name, offset)
		if !ok {
			check(fmt.Errorf("%s: no chunk at %d", name, offset))
		}
		size := chunk.ChunkSize
		if size == 0 {
			size = entry.Size - chunk.ChunkOffset
		}
		bytes := make([]byte, size)
		_, err := file.ReadAt(bytes, chunk.ChunkOffset)
		check(err)
		chunkVerifier, err := verifier.Verifier(chunk)
		check(err)
		chunkVerifier.Write(bytes)
		if !chunkVerifier.Verified() {
			check(fmt.Errorf("%s: the chunk at %d has another digest", name, offset))
		}
		whole.Write(bytes)
		offset += size
	}
	fmt.Printf("%x %s\x00", whole.Sum(nil), name)
}

func main() {
	if len(os.Args) >= 4 && os.Args[1] == "build" {
		build(os.Args[2], os.Args[3], os.Args[4:])
	} else if len(os.Args) == 4 && os.Args[1] == "verify" {
		verify(os.Args[2], os.Args[3])
	} else {
		check(fmt.Errorf("usage: estargz-peer build TAR BLOB [FILE...] | verify BLOB DIGEST"))
	}
}
