import ts from 'typescript';

/** JSON Schema, draft 7, as far as types of JSON need it. */
export interface Schema {
  $ref?: string;
  description?: string;
  type?: string | string[];
  enum?: (string | number | boolean | null)[];
  const?: string | number | boolean;
  pattern?: string;
  anyOf?: Schema[];
  items?: Schema | Schema[];
  minItems?: number;
  maxItems?: number;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
}

/**
 * The schema of the JSON of an exported type, and those of the interfaces in it by name. Comments become descriptions. Throws at a type that JSON
 * has not: functions, typed arrays, bigints.
 */
export function schemaOf(file: string, name: string): { root: Schema; definitions: Record<string, Schema> } {
  const program = ts.createProgram([file], {
    strict: true,
    exactOptionalPropertyTypes: true,
    module: ts.ModuleKind.Node16,
    target: ts.ScriptTarget.ES2022,
    types: ['node'],
    skipLibCheck: true,
  });
  const checker = program.getTypeChecker();
  const symbol = checker
    .getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)!)!)
    .find((own) => own.name === name);
  if (!symbol) throw new Error(`${file} exports no ${name}`);
  const definitions: Record<string, Schema> = {};
  const named = new Map<string, ts.Symbol>();
  const root = of(checker.getDeclaredTypeOfSymbol(symbol), name);
  return { root, definitions };

  function of(type: ts.Type, where: string): Schema {
    if (type.isStringLiteral() || type.isNumberLiteral()) return { const: type.value };
    if (type.flags & ts.TypeFlags.BooleanLiteral) return { const: checker.typeToString(type) === 'true' };
    if (type.flags & ts.TypeFlags.TemplateLiteral) return ofTemplate(type as ts.TemplateLiteralType, where);
    if (type.flags & ts.TypeFlags.String) return { type: 'string' };
    if (type.flags & ts.TypeFlags.Number) return { type: 'number' };
    if (type.flags & ts.TypeFlags.Boolean) return { type: 'boolean' };
    if (type.flags & ts.TypeFlags.Null) return { type: 'null' };
    if (type.flags & ts.TypeFlags.Unknown) return {};
    if (type.isUnion()) return ofUnion(type.types, where);
    if (checker.isTupleType(type)) {
      const items = checker
        .getTypeArguments(type as ts.TypeReference)
        .map((item, i) => of(item, `${where}[${i}]`));
      return { type: 'array', items, minItems: items.length, maxItems: items.length };
    }
    if (checker.isArrayType(type))
      return {
        type: 'array',
        items: of(checker.getTypeArguments(type as ts.TypeReference)[0]!, `${where}[]`),
      };
    if (type.flags & ts.TypeFlags.Object || type.isIntersection()) return ofObject(type, where);
    throw new Error(`${where}: ${checker.typeToString(type)} is no type of JSON`);
  }

  function ofTemplate({ texts, types }: ts.TemplateLiteralType, where: string): Schema {
    if (types.some((own) => !(own.flags & ts.TypeFlags.String)))
      throw new Error(`${where}: a text with parts that are no plain strings`);
    const parts = texts.map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
    return { type: 'string', pattern: `^${parts.join('[\\s\\S]*')}$` };
  }

  function ofUnion(types: readonly ts.Type[], where: string): Schema {
    // What may be left out is told by `required`.
    const told = types.filter((own) => !(own.flags & ts.TypeFlags.Undefined));
    const literals = told.filter((own) => own.isLiteral() || own.flags & ts.TypeFlags.BooleanLiteral);
    const others = told.filter((own) => !literals.includes(own));
    const schemas = others.map((own) => of(own, where));
    if (literals.length > 0) {
      const values = literals.map((own) => of(own, where).const!);
      const isBoolean = values.length === 2 && values.every((value) => typeof value === 'boolean');
      schemas.unshift(
        isBoolean ? { type: 'boolean' } : values.length === 1 ? { const: values[0]! } : { enum: values },
      );
    }
    if (schemas.length === 1) return schemas[0]!;
    const isPlain = schemas.every((own) => typeof own.type === 'string' && Object.keys(own).length === 1);
    return isPlain ? { type: schemas.map((own) => own.type as string) } : { anyOf: schemas };
  }

  function ofObject(type: ts.Type, where: string): Schema {
    if (type.getCallSignatures().length > 0) throw new Error(`${where}: a function is no type of JSON`);
    const { symbol: own } = type;
    const isNamed = own !== undefined && Boolean(own.flags & ts.SymbolFlags.Interface);
    if (!isNamed) return ofProperties(type, where);
    if (
      own.declarations?.some(
        (node) =>
          node.getSourceFile().hasNoDefaultLib ||
          /[\\/]node_modules[\\/]/.test(node.getSourceFile().fileName),
      )
    )
      throw new Error(`${where}: ${own.name} is no type of JSON`);
    if ((named.get(own.name) ?? own) !== own)
      throw new Error(`${where}: there are two interfaces called ${own.name}`);
    named.set(own.name, own);
    if (!(own.name in definitions)) {
      definitions[own.name] = {};
      definitions[own.name] = { ...described(own), ...ofProperties(type, own.name) };
    }
    return { $ref: `#/definitions/${own.name}` };
  }

  function ofProperties(type: ts.Type, where: string): Schema {
    const properties: Record<string, Schema> = {};
    const required: string[] = [];
    for (const property of checker.getPropertiesOfType(type)) {
      const place = `${where}.${property.name}`;
      const found = checker.getTypeOfSymbol(property);
      const optional = Boolean(property.flags & ts.SymbolFlags.Optional);
      const schema = of(found, place);
      // Draft 7 reads nothing beside a reference.
      properties[property.name] = schema.$ref === undefined ? { ...described(property), ...schema } : schema;
      if (!optional) required.push(property.name);
    }
    const index = checker.getIndexTypeOfType(type, ts.IndexKind.String);
    return {
      type: 'object',
      ...(Object.keys(properties).length > 0 && { properties }),
      ...(required.length > 0 && { required }),
      ...(index && { additionalProperties: of(index, `${where}[…]`) }),
    };
  }

  function described(own: ts.Symbol): { description?: string } {
    const text = ts.displayPartsToString(own.getDocumentationComment(checker)).replace(/\s+/g, ' ').trim();
    const deprecated = own.getJsDocTags(checker).find((tag) => tag.name === 'deprecated');
    const whole = [text, deprecated && `Deprecated. ${ts.displayPartsToString(deprecated.text)}`]
      .filter(Boolean)
      .join(' ');
    return whole === '' ? {} : { description: whole };
  }
}
