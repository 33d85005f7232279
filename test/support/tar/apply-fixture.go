// Applies tars to directories as containerd's differ does, with containerd's own code.
//
// Each line of the input is the upper directory, the directories below it (nearest first, joined by
// colons; none for a first layer) and the tar, separated by tabs. Each is answered with a line:
// "ok", or why it failed.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/containerd/archive"
	"github.com/sirupsen/logrus"
)

func apply(upper, lower, tar string) error {
	file, err := os.Open(tar)
	if err != nil {
		return err
	}
	defer file.Close()
	var options []archive.ApplyOpt
	if lower != "" {
		options = append(options,
			archive.WithConvertWhiteout(archive.OverlayConvertWhiteout),
			archive.WithParents(strings.Split(lower, ":")))
	}
	_, err = archive.Apply(context.Background(), upper, file, options...)
	return err
}

func main() {
	logrus.SetOutput(io.Discard)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		answer := "ok"
		if err := apply(fields[0], fields[1], fields[2]); err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(answer)
	}
}
