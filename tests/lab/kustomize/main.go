// Builds small trees with the real kustomize, as its command line does, for as long as somebody asks.
//
// A line in is a tree, a line out is what became of it, so that a thousand trees cost one start and one reading of the schema.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// A tree and how it is built.
type question struct {
	// Files by path; contents in base64.
	Files map[string][]byte `json:"files"`
	// A directory on disk that holds the tree instead, if it is not empty.
	Disk string `json:"disk"`
	// The directory that is built.
	Root string `json:"root"`
	// Whether objects are sorted as the command line does where the root says nothing.
	Legacy bool `json:"legacy"`
	// Whether files outside of a kustomization's directory may be read.
	Unrestricted bool `json:"unrestricted"`
}

type answer struct {
	Yaml  string `json:"yaml"`
	Error string `json:"error"`
}

func main() {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriter(os.Stdout)
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var asked question
		if err := decoder.Decode(&asked); err != nil {
			return
		}
		if err := encoder.Encode(build(asked)); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
	}
}

func build(asked question) (said answer) {
	// A tree's own schema outlives its build, and a process of the command line has only one tree.
	openapi.ResetOpenAPI()
	defer func() {
		if problem := recover(); problem != nil {
			said = answer{Error: fmt.Sprintf("panic: %v", problem)}
		}
	}()
	files, root, err := tree(asked)
	if err != nil {
		return answer{Error: err.Error()}
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionNone
	if asked.Legacy {
		options.Reorder = krusty.ReorderOptionLegacy
	}
	if asked.Unrestricted {
		options.LoadRestrictions = types.LoadRestrictionsNone
	}
	objects, err := krusty.MakeKustomizer(options).Run(files, root)
	if err != nil {
		return answer{Error: err.Error()}
	}
	yaml, err := objects.AsYaml()
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Yaml: string(yaml)}
}

func tree(asked question) (filesys.FileSystem, string, error) {
	if asked.Disk != "" {
		return filesys.MakeFsOnDisk(), path.Join(asked.Disk, asked.Root), nil
	}
	files := filesys.MakeFsInMemory()
	for name, content := range asked.Files {
		if err := files.WriteFile(path.Join("/", name), content); err != nil {
			return nil, "", err
		}
	}
	return files, path.Join("/", asked.Root), nil
}
