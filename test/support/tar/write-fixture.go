// Writes a tar of a directory with Go's archive/tar: format, directory, file.
package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

var formats = map[string]tar.Format{
	"ustar": tar.FormatUSTAR,
	"pax":   tar.FormatPAX,
	"gnu":   tar.FormatGNU,
}

var firstNames = map[uint64]string{}

func headerOf(path, name string, info fs.FileInfo) (*tar.Header, error) {
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if target, err = os.Readlink(path); err != nil {
			return nil, err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, err
	}
	header.Name = name
	if info.IsDir() {
		header.Name += "/"
	}
	status := info.Sys().(*syscall.Stat_t)
	if first, ok := firstNames[status.Ino]; ok && !info.IsDir() {
		header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
	} else {
		firstNames[status.Ino] = name
	}
	return header, nil
}

func add(writer *tar.Writer, format, path, name string, info fs.FileInfo) error {
	header, err := headerOf(path, name, info)
	if err != nil {
		return err
	}
	header.Format = formats[format]
	header.Uname, header.Gname = "", ""
	if format != "pax" {
		header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
		header.ModTime = header.ModTime.Truncate(time.Second)
	}
	if err := writer.WriteHeader(header); err != nil {
		// What the format cannot say is left out.
		fmt.Fprintf(os.Stderr, "%q: %v\n", name, err)
		return nil
	}
	if header.Typeflag != tar.TypeReg {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(writer, file)
	return err
}

func run(format, folder, target string) error {
	file, err := os.Create(target)
	if err != nil {
		return err
	}
	writer := tar.NewWriter(file)
	err = filepath.Walk(folder, func(path string, info fs.FileInfo, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil || name == "." {
			return err
		}
		return add(writer, format, path, name, info)
	})
	if err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return file.Close()
}

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
